// Package spool keeps verified events on this machine's disk while Redis cannot
// be reached, and hands them over when it can.
//
// [Spool] is the synced file. [Breaker] decides whether Redis is worth a try.
// [Queue] joins both with the queue itself: it is what ingest enqueues to, and it
// drains the file in the background. Where the queue is memory, [Journal] stands in
// its place: there every event goes into the file first, and stays until it is
// recorded.
//
// # What is promised
//
// Put, and so a 200 that came from the spool, means that the event is in the file
// and that the disk has said that it is there: it survives the process and the
// machine, killed at any moment. An event leaves the file only after the queue
// confirmed it. A kill between the two makes the queue see it twice, which a
// deterministic task ID turns into nothing. An error of Put never proves that the
// event is not kept; keeping it again is always safe.
//
// The drain goes in order of arrival. It does not hold up new events, which go to
// Redis directly as soon as that answers: between spooled events and new ones
// there is no order.
//
// # What is not
//
// The spool is one disk. When that is lost before the drain, or lies about having
// synced, what it held is lost. The file belongs to one process at a time, so the
// events in it wait for that process, or the next on the same directory: do not
// delete the directory with the container.
//
// # Shared directories
//
// Processes that are started alike on one machine, as a service that is scaled, can
// share a directory: with [OpenShared] each takes a numbered one in it. What a process
// has left that was not started again is adopted by one that runs: see [Spool.Adopt].
//
// # The files
//
// spool.db is a bbolt file. Its bucket "records" maps a sequence number (8 bytes,
// big-endian) to a record:
//
//	version   1 byte, 1
//	checksum  4 bytes, big-endian: CRC-32C of all that follows
//	arrived   8 bytes, big-endian: microseconds since 1970
//	kind      4 bytes of length, big-endian, and the task's kind
//	id        4 bytes of length, big-endian, and the task's ID
//	payload   the rest
//
// The bucket "aside" holds, in the same form, records that could not be handed
// over for what is in them: damaged ones and those of a kind that this release does
// not know. The next start tries them again.
//
// spool.db.new is a file that is being made; spool.lock keeps a second process out.
//
// # Full disks
//
// bbolt writes new pages before it frees old ones, so that on a full disk it could
// not even delete. spool.reserve is space held back for that; while there is none,
// Put refuses. Where it is not enough, the records that were handed over are
// remembered, and the file is replaced once it holds nothing else. It is also
// replaced when it is empty and larger than 16 MiB, which gives the space back.
//
// Payloads outlive releases, as those in Redis do; a release reads the records of
// all before it. The package knows neither HTTP nor what is in an event.
package spool
