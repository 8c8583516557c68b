// Package source reads webhooks. It knows how each protocol signs its
// deliveries, how a delivery names its event and its job, and what the event
// means for the job.
//
// # Protocols
//
// Each protocol is one file and one line in [Protocols]:
//
//	seed.go      events named video.completed and so on, signed with HMAC-SHA256
//	             over the body, as the webhooks registered at /v1/webhooks send them
//	official.go  Kling's documented callbacks, signed as Standard Webhooks requires
//	unsigned.go  the same callbacks from accounts without a webhook secret; they
//	             only trigger a look-up
//	lookup.go    Kling's answers to klinghook's look-ups
//
// The ingest process calls [Source.Verify] and [Source.Identify]. The worker calls
// [Source.Update] for a stored event, and Verify again when it replays a rejected
// delivery.
//
// A Source only computes. It opens no connection, reads no clock and keeps no
// state: Verify depends on the headers, the body, the secrets and the time of
// arrival, and nothing else.
//
// # Strict and lenient
//
// The signature and the names of an event and its job are read strictly. All other
// fields are read leniently, because senders' shapes drift: a number may be a
// string, a list may be a single object. A field that is unknown or unreadable is
// ignored. [Object] is the reader, and the kling package uses it too.
package source
