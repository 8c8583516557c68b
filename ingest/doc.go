// Package ingest is the public side of klinghook: an HTTP server that takes
// deliveries, verifies who signed them, and answers 200 once the queue has the
// event. It does nothing else while the sender waits.
//
// The order is fixed: read the whole body within the limit, verify the signature
// over its bytes, and only then parse it, give it an identity and enqueue it. A
// sender without a secret costs a read and a hash, and reaches nothing behind.
//
// The package knows neither the store nor what is done with an event, and what it
// links stays small, for this is the process that faces the internet.
package ingest
