package tasks

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"time"
)

// Event is something that happened at Kling, as one delivery told it: the bytes
// that were signed and what was read from them before they were queued.
type Event struct {
	// ID is the idempotency key: every delivery of the same event has the same
	// ID. It is "<source>:<key>" as [EventID] makes it.
	ID string
	// Source names the protocol that verified the delivery, e.g. "klingai".
	Source string
	// Type is the event's type in the seed protocol's words, e.g.
	// "video.completed". Types that klinghook does not know are kept as they are.
	Type string
	// JobID is Kling's id of the video generation; empty when an event of an
	// unknown type names none.
	JobID string
	// ReceivedAt is when the delivery arrived, by the receiver's clock, in UTC.
	ReceivedAt time.Time
	// Secret is the fingerprint of the secret that verified the delivery, never
	// the secret; empty when verification was switched off.
	Secret string
	// Headers are the request headers that its verification needs, by canonical
	// name, so that the signature can be checked again from what was kept.
	Headers map[string]string
	// Body is the raw request body, byte for byte as it was signed.
	Body []byte
}

// SourceLookup is the Source of events that klinghook made itself, of Kling's answer
// to a look-up or, of [TypeLost], of there being none.
const SourceLookup = "lookup"

// EventID returns the idempotency key of an event: the sender's own id of it
// (escaped by [SafeID]) where it has one, else the SHA-256 of the raw body.
func EventID(source, senderID string, body []byte) string {
	if senderID != "" {
		return source + ":" + SafeID(senderID)
	}
	sum := sha256.Sum256(body)
	var buffer [128]byte // as long as such an id gets, so that it is made in place
	id := append(append(buffer[:0], source...), ':')
	return string(hex.AppendEncode(id, sum[:]))
}

// maxSafeID is the longest SafeID in bytes. Object stores allow 1,024 bytes for
// a whole key and file systems 255 for one name.
const maxSafeID = 128

// SafeID rewrites an id that somebody else chose so that it can stand in a task
// id, an object name and a file name. Letters, digits, '.', '_' and '-' stay;
// any other byte, and a leading dot, becomes '~' and two hex digits. What would
// be longer than 128 bytes is cut and ends in "~~" and a SHA-256 of the whole.
// Different ids stay different.
func SafeID(id string) string {
	var b strings.Builder
	for i := 0; i < len(id); i++ {
		c := id[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '_', c == '-', c == '.' && i > 0:
			b.WriteByte(c)
		default:
			b.WriteByte('~')
			b.WriteString(hex.EncodeToString([]byte{c}))
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
