// Package dashboard serves pages and an API for jobs and failures, and asynq's web pages
// (asynqmon), which show tasks. It also exports metrics of the queues and the database.
//
// It has no login of its own: put package login in front of it, or serve it on a loopback
// address. It accepts changes only from its own pages, loads nothing from other hosts,
// cannot be framed, and shows payloads without signatures and the query strings of links.
package dashboard
