// Package store keeps klinghook's state: every event as received, one row per job,
// the job's media, notifications, and dead letters. It is the source of truth for
// unfinished work; the queue can be rebuilt from it.
//
// Two databases run the same statements: SQLite (WAL, synchronous=FULL) for one
// machine, PostgreSQL for many workers. [Store.Record] writes events and their
// effects in one transaction. It may run twice, concurrently or after a crash, with
// the same result.
//
// job.go computes a job from the set of its events, without SQL. The order of the
// events and their repeats make no difference.
//
// All SQL is in this package, and nothing about queues or protocols.
package store
