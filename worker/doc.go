// Package worker does the slow work behind the queue: it records events, downloads
// media and sends notifications. Each kind of task is one file with one handler;
// [Worker] runs asynq servers of their own for each queue, so that no kind of work
// waits for another.
//
// A handler may run twice, at once or after a crash at any line, with the same
// result: what it does is guarded by the store, not by the queue. It returns an
// error to be run again, or one declared [tasks.Permanent] to be given up at once;
// it never logs its own failure, which the [Worker] does, one line an attempt.
//
// The package never sees an HTTP request of Kling's, and imports nothing of ingest.
package worker
