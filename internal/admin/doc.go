// Package admin serves the private address of a process: health, metrics, profiles,
// and PUT /jobs. Its subpackages serve asynq's pages (queues) and the login in front
// of them (login). The address belongs on a loopback interface or a private network.
package admin
