// Package spool keeps verified events on this machine's disk while Redis is down, and
// hands them over when it is back.
//
// [Queue] enqueues in Redis while a circuit breaker is closed; otherwise it writes a file.
// A check every second, not a delivery, tests whether Redis is back.
//
// When Enqueue returns without an error, the event is in Redis or synced to the disk. A
// file is deleted after Redis has the event. If the process is killed in between, the
// task's ID prevents a second task. Files are handed over in order of arrival.
//
// The directory is a maildir, which several processes may share:
//
//	tmp/   files that are being written; old ones are removed
//	new/   one directory per ten seconds, with one file per event
//	bad/   damaged files, to inspect by hand
//
// A file's name is the time of arrival in nanoseconds, random text, and the file's
// size. It contains a checksum (CRC-32C in hex) of what follows, a space, the task's
// kind, id and trace as JSON, a newline, and the task's payload.
package spool
