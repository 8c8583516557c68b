// Package store keeps what klinghook knows: every event as it was received, one
// row per job, the job's media, and the notifications that are owed or sent. It
// is the truth about what is still to be done; the queue can be rebuilt from it.
//
// Two databases serve it with the same statements: SQLite (WAL, synchronous=FULL)
// for one machine, PostgreSQL for many workers. [Store.RecordAll] writes events
// and all that follows from them in one transaction, and may run twice, at once or
// after a crash, with the same result.
//
// How events become a job is in job.go and is free of SQL: a job is a function of
// the set of its events, whatever their order and repeats.
//
// All SQL stands here. The package knows neither the queue nor any protocol.
package store
