package source

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/klinghook/klinghook/tasks"
)

// ErrSignature is matched by every error of [Source.Verify]: the delivery does
// not prove that its sender knows a secret.
var ErrSignature = errors.New("invalid signature")

// Source is one webhook protocol: how it signs, and what its bodies mean. A
// Source is safe for concurrent use and reads no clock, network or disk.
type Source interface {
	// Verify reports which secret signed the body, by its [Fingerprint]. It looks
	// at nothing in the body but its bytes. at is when the delivery arrived, for
	// protocols that bound the age of a signature. Its errors match
	// ErrSignature and say why, without anything of the headers' values.
	Verify(header http.Header, body []byte, at time.Time) (secret string, err error)
	// Identify reads from a verified delivery which event it is. Its error says
	// what in the body is not the protocol's, in words for the sender.
	Identify(header http.Header, body []byte) (Identity, error)
	// Update says what an identified event means for its job; nil when it means
	// nothing for any, such as an event of an unknown type. It goes by ev.Body
	// and agrees with what Identify read from it; what else in the body cannot
	// be read is left out. Its errors are Identify's, declared permanent.
	Update(ev tasks.Event) (*tasks.JobUpdate, error)
}

// Identity is what makes a delivery an event.
type Identity struct {
	// SenderID is the sender's own id of the event; empty where the protocol
	// has none.
	SenderID string
	// Type is the event's type in the seed protocol's words.
	Type string
	// JobID is Kling's id of the job; empty only for types that are unknown.
	JobID string
}

// Protocol is a webhook protocol that klinghook speaks: where it is received
// and how its Source is made.
type Protocol struct {
	// Name is kept with each event and must never change once used.
	Name string
	// Path is where its deliveries are posted.
	Path string
	// SecretSetting is the setting that holds the secrets, by its variable's name.
	SecretSetting string
	// Headers are the request headers that Verify and Identify read, by
	// canonical name.
	Headers []string
	// New makes the Source that accepts signatures by any of the secrets; with
	// none it verifies nothing and still identifies. It fails when a secret is
	// not of the protocol's form, and does not show it.
	New func(secrets []string) (Source, error)
}

// Protocols returns every protocol that klinghook speaks. A new one is a file
// in this package, a line here, and a line in config for its secret.
func Protocols() []Protocol {
	return []Protocol{seedProtocol(), officialProtocol()}
}

// All returns the Source of every event that can be in the store, by name. secrets
// returns those of the setting that it is given the name of, to verify by; a worker,
// which only reads what was verified, has none.
func All(secrets func(setting string) []string) (map[string]Source, error) {
	all := map[string]Source{CallbackName: callbackSource{}, tasks.SourceLookup: Lookup()}
	for _, p := range Protocols() {
		src, err := p.New(secrets(p.SecretSetting))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", p.SecretSetting, err)
		}
		all[p.Name] = src
	}
	return all, nil
}

// NoSecrets is for [All] where nothing is to be verified.
func NoSecrets(string) []string { return nil }
