// Package notify tells people and programs what became of a video job: chat and
// e-mail through shoutrrr, and other programs through a signed HTTP POST of
// klinghook's own JSON (a forward).
//
// Each configured URL is one destination with a name of its own. Sending to one
// waits for no other, and delivery is at least once: a send whose answer is lost
// is reported as an error although it may have arrived.
//
// # What a forward receives
//
// The body is a Standard Webhooks payload, signed with the configured secret in
// the headers webhook-id, webhook-timestamp and webhook-signature. webhook-id is
// the same on every attempt to deliver the same message: use it to drop repeats.
//
//	type        the event's type, e.g. "video.completed"; types that klinghook
//	            does not know are passed on as they came
//	timestamp   when klinghook received the event, or the first of several that
//	            say the same
//	data
//	  event_id  klinghook's id of the event; left out when no event caused this
//	  job       left out when the event belongs to none
//	    id                Kling's id of the job
//	    status            "created", "processing", "completed", "failed", "cancelled"
//	    progress          percent, 0 to 100
//	    prompt, model     as Kling gave them
//	    duration_seconds  length of the video
//	    error             why it failed, in Kling's words
//	    external_id       the caller's own id of the job
//	    source            the protocol that told of it, e.g. "klingai"
//	    created_at, finished_at
//	    contradicted      true when events disagreed about how the job ended
//	  media     a list, possibly empty
//	    name          "video", "video-2", "thumbnail", …
//	    state         how far its download is
//	    object        its key in the bucket
//	    url           Kling's link to it, with its signature; it expires
//	    size          bytes
//	    sha256        of the content, in hex
//	    content_type
//
// Times are RFC 3339 in UTC. A field that is not known is left out, except
// progress, contradicted and media, which are always there. job and media are as
// they stand at sending: after a late or repeated event the status need not match
// type, and when a message is sent again more may be stored than before.
// Later releases only add fields. testdata holds a full and a minimal example.
//
// Any 2xx answer is success. 410 ends the attempts; every other answer is tried
// again, no sooner than a Retry-After of a 429 or 503 asks, up to an hour.
// Redirects are not followed.
//
// # Networks and proxies
//
// Forwards connect directly and ignore HTTP_PROXY and its siblings, since their
// endpoints may be private. They may be private on purpose: no address is
// refused. Chat and e-mail connect as shoutrrr does, and most of its services
// honour those variables.
//
// # What the package refuses
//
// It knows no store, queue or environment: it is given plain data. No secret
// leaves it: configured URLs hold tokens, so neither names nor errors contain
// them, nor what shoutrrr's errors say of them, and chat texts carry links only
// up to their query.
package notify
