package tasks

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"time"
)

// Event is something that happened at Kling, as one delivery reported it.
type Event struct {
	// ID is the idempotency key, the same for every delivery of the event:
	// "<source>:<key>", as [EventID] returns it.
	ID string
	// Source names the protocol that verified the delivery, e.g. "klingai".
	Source string
	// Type is the event's type in the seed protocol's words, e.g. "video.completed".
	// Unknown types are kept as they are.
	Type string
	// Job is the event's job. Its ID is empty when an event of an unknown type has none.
	Job JobKey
	// ReceivedAt is when the delivery arrived, by the receiver's clock, in UTC.
	ReceivedAt time.Time
	// Secret is the fingerprint of the secret that verified the delivery; empty when
	// verification was off.
	Secret string
	// Headers are the request headers that verification reads, by canonical name, so
	// that the signature can be checked again.
	Headers map[string]string
	// Body is the raw request body, byte for byte as it was signed.
	Body []byte
}

// SourceLookup is the Source of events that klinghook makes from Kling's answers to
// look-ups, or, with [TypeLost], when there is no answer.
const SourceLookup = "lookup"

// EventID returns the idempotency key of an event: the sender's own id, escaped by
// [SafeID], or else the SHA-256 of the raw body.
func EventID(source, senderID string, body []byte) string {
	if senderID != "" {
		return source + ":" + SafeID(senderID)
	}
	sum := sha256.Sum256(body)
	return source + ":" + hex.EncodeToString(sum[:])
}

// maxSafeID is the longest SafeID in bytes. Object stores allow 1,024 bytes for a key
// and file systems 255 for a name.
const maxSafeID = 128

// SafeID rewrites an id that a sender chose so that it can be part of a task id, an
// object name or a file name. Letters, digits, '.', '_' and '-' stay; any other byte,
// and a leading dot, becomes '~' and two hex digits. A result longer than 128 bytes is
// cut and ends in "~~" and part of the id's SHA-256. Different ids stay different.
func SafeID(id string) string {
	var b strings.Builder
	for i := range len(id) {
		c := id[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '_', c == '-', c == '.' && i > 0:
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "~%02x", c)
		}
	}
	safe := b.String()
	if len(safe) <= maxSafeID {
		return safe
	}
	sum := sha256.Sum256([]byte(id))
	tail := "~~" + hex.EncodeToString(sum[:16])
	return safe[:maxSafeID-len(tail)] + tail
}
