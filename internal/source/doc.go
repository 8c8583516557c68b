// Package source knows the webhook protocols: how each signs its deliveries, how
// a delivery names its event and its job, and what the event means for the job.
// Each protocol is one file. Ingest uses [Source.Verify] and [Source.Identify];
// the worker uses [Source.Update], and Verify once more on replay.
//
// A Source only computes: it opens no connection, reads no clock and keeps no
// state, so that the same bytes always mean the same. It is strict about the
// signature and about what names an event and its job, and lenient about all
// else: a field that it does not know or cannot read is never an error.
package source
