// Package ingest is the public side of klinghook: an HTTP server that receives
// deliveries, verifies who signed them, and answers 200 once the queue has the event.
// The sender waits for nothing else.
//
// The order is fixed: read the whole body within the limit, verify the signature over
// its bytes, and only then parse, identify and enqueue it. A sender without a secret
// costs one read and one hash, and reaches nothing else.
//
// The package faces the internet, so it imports few libraries, and neither the store nor
// the workers.
package ingest
