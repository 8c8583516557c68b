// Package notify tells people and programs about video jobs: chat and e-mail
// through shoutrrr, and other programs through a signed HTTP POST (a forward).
//
// Each destination has a name: its own, or one made from its URL. A chat URL with several
// recipients becomes one destination each, so that a retry does not repeat what others
// have received. Delivery is at least once: a send whose answer is lost is reported as an
// error, although it may have arrived.
//
// # Forwards
//
// The body is a Standard Webhooks payload, signed with the configured secret in the
// headers webhook-id, webhook-timestamp and webhook-signature. webhook-id is the
// same on every attempt: use it to drop repeats.
//
//	type        the event's type, e.g. "video.completed"; unknown types are passed on
//	timestamp   when klinghook first received the event
//	data
//	  event_id  klinghook's id of the event; left out if no event caused this
//	  job       left out if the event belongs to none
//	    platform          where the job runs: "kling"
//	    id                the platform's id of the job
//	    status            "created", "processing", "completed", "failed", "cancelled"
//	    progress          percent, 0 to 100
//	    prompt, model     as Kling sent them, or else as in PUT /jobs/<id>
//	    duration_seconds  length of the video
//	    error             why it failed, in Kling's words
//	    external_id       the caller's own id of the job
//	    source            the protocol of the event, e.g. "klingai"
//	    created_at, finished_at
//	    costs             a list of amount (a decimal text), unit (a currency, or "unit")
//	                      and kind ("cash" or "unit")
//	    no_media          true if Kling has not said where a completed job's files are
//	    no_media_reason   why, for example that an output has no link
//	    tags, expected_cost (amount, unit), metadata
//	                      as in PUT /jobs/<id>
//	    contradicted      true if events disagree about how the job ended
//	  media     a list, possibly empty
//	    name          "video", "video-2", "thumbnail", …
//	    state         the state of its download
//	    object        its key in the bucket
//	    url           Kling's signed link, which expires
//	    size          bytes
//	    sha256        of the content, in hex
//	    content_type
//	    download_url      a signed link to the stored file; left out if the bucket signs none
//	    download_url_expires_at
//
// Each attempt has new download links. Times are RFC 3339 in UTC. Unknown fields are left out, except progress,
// contradicted and media. job and media show the state when the message is sent: after a
// late or repeated event the status need not match type, and a repeated message may show
// more stored files. Later releases only add fields. testdata has two examples.
//
// Any 2xx answer is success. 410 ends the attempts; after every other answer
// klinghook tries again, after the Retry-After of a 429 or 503 (at most an hour).
// Redirects are not followed.
//
// # Chat
//
// A message counts as sent only if the service's answer confirms it: a complete 2xx that
// contains the service's sign of success. Redirects are errors. See [GuardDefaultClient].
//
// shoutrrr's sends take no context, so klinghook stops waiting for one after the
// timeout. At most four sends to a destination run at once; a send that never
// returns frees its place after ten minutes.
//
// # Networks
//
// Requests use no proxy and may reach private addresses: an operator chose them.
//
// # Secrets
//
// Configured URLs contain tokens. Neither names nor errors show them, and chat texts
// show links without their query.
package notify
