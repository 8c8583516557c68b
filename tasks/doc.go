// Package tasks is the contract between the process that receives webhooks and
// the ones that act on them: what an [Event] is, which kinds of work exist, how
// each kind is queued ([PolicyOf]), what its payload looks like on the wire, and
// the [Client] that enqueues it.
//
// Payloads outlive processes: a task that one release enqueued is run by the
// next. The files in testdata are payloads of past releases, and every release
// must still read them.
//
// The package knows Redis only through asynq. It knows no HTTP, no SQL and no
// protocol of Kling's; queue names stand here and nowhere else.
package tasks
