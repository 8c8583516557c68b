// Package worker does the slow work behind the queue: it records events, downloads
// media and sends notifications. Each kind of task has one file with one handler.
// [Worker] runs separate asynq servers for each queue, so that no kind of work waits
// for another.
//
// asynq can run a task twice, even concurrently. The store, not the queue, prevents a
// second effect: every handler may run again after a crash at any line, with the same
// result. A handler returns an error to be retried, or one declared [tasks.Permanent]
// to be given up at once. It never logs its own failure: [Worker] writes one line per
// attempt.
//
// A task that is given up ends as a dead letter in the store. Once a minute one worker
// of the fleet sweeps: it enqueues work that the store lists as owed and no queue has.
package worker
