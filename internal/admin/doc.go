// Package admin serves the private address of a process: health, metrics and profiles. Its
// subpackages serve the dashboard (pages, API and asynq's pages) and the login in front of
// it. Use a loopback address or a private network.
package admin
