// Package pipeline enqueues tasks so that deliveries which arrive at the same time
// share their round trips to Redis.
//
// An enqueue is one script call. While nothing else is under way it is made as it
// is, by its caller. While something is, it joins a queue in memory, from which a few
// flushers take what there is and send it as one pipeline. Nobody waits for others to
// come: a pipeline is as long as the one before it took, and no longer.
//
// Each caller waits no longer than its own context allows, whatever becomes of the
// pipeline. Above a number of enqueues at once the next is refused with
// [tasks.ErrOverloaded], at once.
//
// go-redis's own AutoPipeline does not serve: it is experimental, runs pipelines
// without a deadline, and bounds neither what a pipeline may hold nor, by itself,
// what may wait. The package is for ingest only: what a worker sends one by one comes
// back later if it has to pass through here.
package pipeline
