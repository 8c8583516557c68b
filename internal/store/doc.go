// Package store keeps what klinghook knows: every event as it was received, one
// row per job, the job's media, notifications, and dead letters. It is the truth
// about what remains to be done; the queue can be rebuilt from it.
//
// Two databases run the same statements: SQLite (WAL, synchronous=FULL) for one
// machine, PostgreSQL for many workers. [Store.Record] writes events and what
// follows from them in one transaction. It may run twice, at once or after a
// crash, with the same result.
//
// How events become a job is in job.go and needs no SQL: a job is a function of
// the set of its events, whatever their order and repeats.
//
// All SQL is in this package. It knows neither the queue nor any protocol.
package store
