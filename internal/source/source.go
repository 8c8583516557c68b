package source

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/klinghook/klinghook/tasks"
)

// ErrSignature is matched by every error of [Source.Verify].
var ErrSignature = errors.New("invalid signature")

// ErrUnknownShape is matched by the errors of [Source.Identify] for a JSON body that the
// protocol signs but cannot interpret.
var ErrUnknownShape = errors.New("unknown shape")

// TypeUnreadable is the type of events whose bodies have an unknown shape.
const TypeUnreadable = "unreadable"

var errNotJSON = errors.New("body is not JSON")

// unreadable returns the identity of an event whose body cannot be read, with an error
// that matches ErrUnknownShape unless the body is not JSON.
func unreadable(senderID string, reason error) (Identity, error) {
	if !errors.Is(reason, errNotJSON) {
		reason = &shapeError{reason}
	}
	return Identity{SenderID: senderID, Type: TypeUnreadable}, reason
}

type shapeError struct{ error }

func (e *shapeError) Is(target error) bool { return target == ErrUnknownShape }

func (e *shapeError) Unwrap() error { return e.error }

// Source is one webhook protocol. It is safe for concurrent use.
type Source interface {
	// Verify returns the [Fingerprint] of the secret that signed the body. at is
	// the time of arrival, for protocols that limit the age of a signature. Its
	// errors match ErrSignature, give the reason and contain no header values.
	Verify(header http.Header, body []byte, at time.Time) (secret string, err error)
	// Identify returns the event's identity. Its errors are worded for the sender. If one
	// matches ErrUnknownShape, the event can be kept under the identity, which has no job,
	// until a later version reads it.
	Identify(header http.Header, body []byte) (Identity, error)
	// Update returns what an event means for its job, or nil if it means nothing, as
	// for an unknown type. It reads event.Body and agrees with Identify. It fails where
	// Identify fails, permanently.
	Update(event tasks.Event) (*tasks.JobUpdate, error)
}

// Identity names an event.
type Identity struct {
	// SenderID is the sender's id of the event; empty if the protocol has none.
	SenderID string
	// Type is the event's type in the seed protocol's words.
	Type string
	// JobID is the platform's id of the job; empty only for unknown types.
	JobID string
	// Hint, if set, is kept instead of the body, which anybody could have written. Every
	// such delivery causes a look-up, even a repeated one.
	Hint string
}

// Protocol describes where a webhook protocol is received and how to make its
// Source.
type Protocol struct {
	// Name is stored with each event and must never change.
	Name string
	// Platform is where the jobs of its events run, such as [tasks.PlatformKling].
	Platform string
	// Path is the path that deliveries are posted to.
	Path string
	// SecretSetting is the environment variable with the secrets.
	SecretSetting string
	// Headers are the canonical names of the headers that Verify and Identify read.
	Headers []string
	// New returns a Source that accepts signatures by any of the secrets. Without
	// secrets the Source verifies nothing but still identifies. New fails if a secret
	// has the wrong form; its error does not show the secret.
	New func(secrets []string) (Source, error)
}

// Protocols returns every protocol that signs its deliveries.
func Protocols() []Protocol {
	return []Protocol{seedProtocol, officialProtocol}
}

// All returns a Source for every event that the store can contain, by name.
// secrets returns the secrets of a setting; see [NoSecrets].
func All(secrets func(setting string) []string) (map[string]Source, error) {
	all := map[string]Source{CallbackName: unsignedSource{}, tasks.SourceLookup: Lookup()}
	for _, protocol := range Protocols() {
		src, err := protocol.New(secrets(protocol.SecretSetting))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", protocol.SecretSetting, err)
		}
		all[protocol.Name] = src
	}
	return all, nil
}

// NoSecrets is for [All] when signatures are not verified.
func NoSecrets(string) []string { return nil }

// Unverified returns the source without its signature check. Anybody can then
// invent events: only `dev --insecure-skip-verify` may use it.
func Unverified(s Source) Source { return unverified{s} }

type unverified struct{ Source }

func (unverified) Verify(http.Header, []byte, time.Time) (string, error) { return "", nil }

// Fingerprint identifies a secret without revealing it: "sha256:" and the first 8
// hex digits of its SHA-256. It is stored with each event, to tell rotated secrets
// apart.
func Fingerprint(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return "sha256:" + hex.EncodeToString(sum[:4])
}

// onlyValue returns the value of a signed header. It refuses a repeated header, because a
// proxy and klinghook could read different values.
func onlyValue(header http.Header, name string) (string, error) {
	values := header.Values(name)
	if len(values) > 1 {
		return "", fmt.Errorf("%w: %s is given more than once", ErrSignature, name)
	}
	if len(values) == 0 || strings.TrimSpace(values[0]) == "" {
		return "", fmt.Errorf("%w: %s is missing", ErrSignature, name)
	}
	return values[0], nil
}

// mismatchError reports a well-formed signature that matches no secret.
type mismatchError struct {
	secrets, bodyBytes int
	setting            string
}

func (e *mismatchError) Error() string {
	return fmt.Sprintf("signature does not match; secrets tried: %d; body of %d bytes; is the sender's secret in %s, and the body passed on unchanged?",
		e.secrets, e.bodyBytes, e.setting)
}

func (e *mismatchError) Is(target error) bool { return target == ErrSignature }
