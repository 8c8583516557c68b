// Package backlog exports as metrics what waits and what has failed: the tasks in
// the queues, by queue and state, and the jobs, dead letters and owed work in the
// store. Every process that exports them reads the same, so that queries take the
// max over processes.
//
// Reading costs the queue and the store something: a scrape gets what was read
// within the last seconds, and is never held up for long by one that does not
// answer. Then what it was to tell is missing, and klinghook_queue_up or
// klinghook_database_up is 0.
package backlog
