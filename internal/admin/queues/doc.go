// Package queues serves asynq's web pages (asynqmon), which show tasks and run failed
// ones again, and exports metrics of the queues and the database.
//
// asynqmon has no login and no protection of its own. These pages accept changes only
// from themselves, load nothing from other hosts, cannot be framed, and show payloads
// without signatures and the query strings of links. Anybody who reaches them
// can delete every task unless they are read-only, so put package login in front of
// them or serve them on a loopback address.
package queues
