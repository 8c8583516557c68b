package simulate

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

// Protocol is how the callbacks to a job's callback_url are worded and signed.
// Registered webhooks always get the seed's.
type Protocol string

// The protocols.
const (
	// AsCreated is Official for jobs that were created in the new form, and
	// OfficialLegacy for those of the legacy form, as Kling does.
	AsCreated Protocol = "as-created"
	// Official is the body of "id" and "status", signed as Standard Webhooks says.
	Official Protocol = "official"
	// OfficialLegacy is the body of "task_id" and "task_status", signed likewise.
	OfficialLegacy Protocol = "official-legacy"
	// Seed is the body of "event" and "data", signed in X-Kling-Signature.
	Seed Protocol = "seed"
)

// Protocols returns every Protocol.
func Protocols() []Protocol { return []Protocol{AsCreated, Official, OfficialLegacy, Seed} }

// The defaults of a Config.
const (
	DefaultDuration = 4 * time.Second
	DefaultLateBy   = 5 * time.Second
	DefaultAttempts = 4
	DefaultBackoff  = time.Second
	DefaultLinkTTL  = 30 * 24 * time.Hour
	DefaultParallel = 10_000
	DefaultKeep     = 100_000
	// defaultMediaSize is a video's length where neither a video nor a size is
	// given.
	defaultMediaSize = 256 << 10
)

// Config says how a Simulator behaves. The zero Config is a Kling without faults
// that takes any credentials and does not sign. Shares are from 0 to 1.
type Config struct {
	// RandomSeed is what all fate follows from.
	RandomSeed uint64

	// Duration is how long a job takes. Default DefaultDuration.
	Duration time.Duration
	// Fail and Cancel are the shares of jobs that end so. Only the seed protocol
	// has cancellation: the others call it failed.
	Fail, Cancel float64

	// Protocol is how jobs call back. Default AsCreated.
	Protocol Protocol
	// OfficialSecret signs callbacks in the official protocols. It is of Standard
	// Webhooks' form, "whsec_" and base64. Empty: they are not signed, as with an
	// account that has no Webhook Secret.
	OfficialSecret string
	// SeedSecret signs callbacks in the seed protocol. Empty: they are not signed.
	// Registered webhooks have secrets of their own.
	SeedSecret string
	// Unsigned leaves all callbacks unsigned, those of registered webhooks too.
	Unsigned bool
	// Attempts is how often a callback that is not answered with 2xx is posted.
	// Default DefaultAttempts.
	Attempts int
	// Backoff is the wait before the second attempt; each further one is twice as
	// long. Default DefaultBackoff.
	Backoff time.Duration
	// Transport posts the callbacks. Default one of its own.
	Transport http.RoundTripper

	// Lost is the share of callbacks that are never sent.
	Lost float64
	// Repeat is the share of callbacks, of those not lost, that are sent twice.
	Repeat float64
	// Reorder is the share of callbacks, of those that have a successor, that are
	// sent after it.
	Reorder float64
	// Late is the share of callbacks that are sent LateBy after their time.
	Late float64
	// LateBy is how late. Default DefaultLateBy.
	LateBy time.Duration

	// DeadLinks is the share of jobs whose links in callbacks answer 403, 404 or
	// 410. Those that a look-up gives work.
	DeadLinks float64
	// LinkTTL is how long a link lives, from the job's end in callbacks, and from
	// the answer in look-ups. Default DefaultLinkTTL.
	LinkTTL time.Duration
	// Video is every job's video. Default a stream of MediaSize; see [NewVideo].
	Video []byte
	// MediaSize, in bytes, makes videos of this size in the place of Video.
	// Default 256 KiB where there is no Video.
	MediaSize int64
	// SlowMedia is the most bytes a second of one download; 0 is no limit.
	SlowMedia int64
	// BrokenMedia is the share of jobs whose downloads break off in the middle,
	// unless they begin beyond it.
	BrokenMedia float64

	// LookupRate is how many look-ups a second are answered, others are refused
	// with 1302; 0 is no limit.
	LookupRate float64
	// Trouble is the share of calls that are answered with 5000, 5001 or 5002.
	Trouble float64
	// Drift gives answers and official callbacks in the shapes that Kling's are
	// known to drift to: the other word for success, data as an object for an
	// array and the reverse, numbers as strings.
	Drift bool

	// Parallel is how many jobs may be in hand at once: not at their end yet, or
	// with callbacks to be sent. Others are refused with 1303. Default
	// DefaultParallel.
	Parallel int
	// Keep is how many jobs are remembered when nothing more happens to them; the
	// oldest is forgotten first. Default DefaultKeep.
	Keep int

	// APIKey is the only key that is taken; AccessKey and SecretKey the only pair,
	// for the legacy form. With none of them any credentials will do.
	APIKey, AccessKey, SecretKey string
}

// withDefaults fills in what is not set.
func (c Config) withDefaults() Config {
	setDefault(&c.Duration, DefaultDuration)
	setDefault(&c.Protocol, AsCreated)
	setDefault(&c.Attempts, DefaultAttempts)
	setDefault(&c.Backoff, DefaultBackoff)
	setDefault(&c.LateBy, DefaultLateBy)
	setDefault(&c.LinkTTL, DefaultLinkTTL)
	setDefault(&c.Parallel, DefaultParallel)
	setDefault(&c.Keep, DefaultKeep)
	if c.Video == nil {
		setDefault(&c.MediaSize, defaultMediaSize)
	}
	return c
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// check says what cannot be, in words for whoever set it.
func (c Config) check() error {
	shares := []struct {
		name  string
		share float64
	}{
		{"lost", c.Lost}, {"repeat", c.Repeat}, {"reorder", c.Reorder}, {"late", c.Late}, {"fail", c.Fail}, {"cancel", c.Cancel},
		{"fail and cancel together", c.Fail + c.Cancel},
		{"dead links", c.DeadLinks}, {"broken media", c.BrokenMedia}, {"trouble", c.Trouble},
	}
	for _, s := range shares {
		if !(s.share >= 0 && s.share <= 1) { // NaN too
			return fmt.Errorf("%s: %v is no share; it takes a number from 0 to 1", s.name, s.share)
		}
	}
	if !slices.Contains(Protocols(), c.Protocol) {
		return fmt.Errorf("protocol: there is no %q; it can be %v", c.Protocol, Protocols())
	}
	if c.Duration < 0 || c.LateBy < 0 || c.LinkTTL < 0 || c.Backoff < 0 {
		return errors.New("duration, lateness, links' life and backoff are times from 0")
	}
	if c.MediaSize != 0 && c.MediaSize < minVideo {
		return fmt.Errorf("media size: %d bytes are no video; it takes %d at least", c.MediaSize, minVideo)
	}
	if c.SlowMedia < 0 || c.Attempts < 0 || c.Parallel < 0 || c.Keep < 0 || !(c.LookupRate >= 0) {
		return errors.New("media's and look-ups' rates, attempts, parallel and keep are numbers from 0")
	}
	if (c.AccessKey == "") != (c.SecretKey == "") {
		return errors.New("an access key goes with a secret key; give both or neither")
	}
	if strings.TrimSpace(c.APIKey) != c.APIKey {
		return errors.New("the API key begins or ends with a blank")
	}
	return nil
}
