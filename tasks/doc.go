// Package tasks is the contract between the process that receives webhooks and the
// workers: the [Event], the kinds of work, the policy of each kind ([PolicyOf]), the
// payloads, and the [Client] that enqueues them.
//
// A payload outlives the process that wrote it: the next release reads what this one
// enqueued. The files in testdata are such payloads.
//
// The package uses Redis through asynq only. It knows no HTTP, no SQL and no webhook
// protocol. Queue names are defined here and nowhere else.
package tasks
