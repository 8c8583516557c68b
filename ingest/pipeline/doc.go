// Package pipeline enqueues tasks so that deliveries which arrive at the same time
// share their round trips to Redis, and there a script call.
//
// While nothing else is under way a task is sent as it is, by its caller. While
// something is, it joins those that wait in memory, from which flushers take what there
// is and send it together ([tasks.Bulk]). Nobody waits for others to come: a batch is
// what has come while the one before it was being written, or sent.
//
// Each caller waits no longer than its own context allows, whatever becomes of the
// batch. Above a number of enqueues at once the next is refused with
// [tasks.ErrOverloaded], at once.
//
// go-redis's own AutoPipeline does not serve: it is experimental, runs pipelines
// without a deadline, and bounds neither what a pipeline may hold nor, by itself,
// what may wait. The package is for ingest only: what a worker sends one by one comes
// back later if it has to pass through here.
package pipeline
