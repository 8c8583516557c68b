package simulate

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"
)

// The defaults of a Config.
const (
	DefaultDuration = 4 * time.Second
	DefaultLateBy   = 5 * time.Second
	DefaultAttempts = 4
	DefaultLinkTTL  = 30 * 24 * time.Hour
	DefaultParallel = 10_000
	DefaultKeep     = 100_000
	// defaultMediaSize is the size of videos if neither Video nor MediaSize is set.
	defaultMediaSize = 256 << 10
)

// Config says how a Simulator behaves. The zero Config is a Kling without faults that
// accepts any credentials and does not sign. Shares are from 0 to 1.
type Config struct {
	// RandomSeed decides everything random.
	RandomSeed uint64

	// Duration is how long a job takes. Default DefaultDuration.
	Duration time.Duration
	// Fail and Cancel are the shares of failed and of cancelled jobs.
	Fail, Cancel float64

	// Protocol is the protocol of callbacks. Default AsCreated.
	Protocol CallbackFormat
	// OfficialSecret and SeedSecret sign callbacks in the official protocols and in the
	// Seed protocol. If empty, these callbacks are not signed.
	OfficialSecret, SeedSecret string
	// Unsigned leaves all callbacks unsigned.
	Unsigned bool
	// Attempts is how often a callback is posted until it is answered with 2xx: the
	// second time after 1 s, then after 2 s, and so on. Default DefaultAttempts.
	Attempts int
	// Transport posts the callbacks. Default a clone of http.DefaultTransport.
	Transport http.RoundTripper

	// Lost is the share of callbacks that are never sent.
	Lost float64
	// Repeat is the share of the callbacks not lost that are sent twice.
	Repeat float64
	// Reorder is the share of the callbacks with a successor that are sent after it.
	Reorder float64
	// Late is the share of callbacks that are sent LateBy too late.
	Late float64
	// LateBy is the delay of late callbacks. Default DefaultLateBy.
	LateBy time.Duration

	// DeadLinks is the share of jobs whose links in callbacks answer 403, 404 or 410.
	// Links from look-ups work.
	DeadLinks float64
	// NoMedia is the share of jobs whose callbacks report success without links. Look-ups
	// have them.
	NoMedia float64
	// LinkTTL is how long a link works: from the job's end in callbacks, from the answer
	// in look-ups. Default DefaultLinkTTL.
	LinkTTL time.Duration
	// Video is the video of every job. Default a stream of MediaSize bytes.
	Video []byte
	// MediaSize, in bytes, streams videos of this size instead of Video. Default 256 KiB
	// if there is no Video.
	MediaSize int64
	// SlowMedia limits each download, in bytes a second; 0 is no limit.
	SlowMedia int64
	// BrokenMedia is the share of jobs whose downloads break off at some point, unless
	// they start after it.
	BrokenMedia float64

	// LookupRate is how many look-ups a second are answered; others get code 1302. 0 is
	// no limit.
	LookupRate float64
	// Trouble is the share of calls that are answered with code 5000, 5001 or 5002.
	Trouble float64
	// Drift varies answers and official callbacks in ways that Kling has shown:
	// the other form's word for success, data as an object instead of a list and the
	// reverse, numbers as strings.
	Drift bool

	// Parallel is how many jobs may be unfinished: running, or with callbacks still to
	// send. Others get code 1303. Default DefaultParallel.
	Parallel int
	// Keep is how many finished jobs are remembered; the oldest is forgotten first.
	// Default DefaultKeep.
	Keep int

	// APIKey is the only key that is accepted, AccessKey and SecretKey the only pair, for
	// the legacy form. Without any of them all credentials are accepted.
	APIKey, AccessKey, SecretKey string
}

// withDefaults sets the defaults of unset fields.
func (c Config) withDefaults() Config {
	setDefault(&c.Duration, DefaultDuration)
	setDefault(&c.Protocol, AsCreated)
	setDefault(&c.Attempts, DefaultAttempts)
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

// check reports the first mistake.
func (c Config) check() error {
	for _, s := range []struct {
		name  string
		share float64
	}{
		{"lost", c.Lost}, {"repeat", c.Repeat}, {"reorder", c.Reorder}, {"late", c.Late}, {"fail", c.Fail}, {"cancel", c.Cancel},
		{"fail and cancel together", c.Fail + c.Cancel},
		{"dead links", c.DeadLinks}, {"no media", c.NoMedia}, {"broken media", c.BrokenMedia}, {"trouble", c.Trouble},
	} {
		if !(s.share >= 0 && s.share <= 1) { // NaN too
			return fmt.Errorf("%s must be between 0 and 1, not %v", s.name, s.share)
		}
	}
	if all := []CallbackFormat{AsCreated, Official, OfficialLegacy, Seed}; !slices.Contains(all, c.Protocol) {
		return fmt.Errorf("protocol must be one of %v, not %q", all, c.Protocol)
	}
	if c.Duration < 0 || c.LateBy < 0 || c.LinkTTL < 0 {
		return errors.New("times must not be negative")
	}
	if c.MediaSize != 0 && c.MediaSize < minVideo {
		return fmt.Errorf("media size must be at least %d bytes, not %d", minVideo, c.MediaSize)
	}
	if c.SlowMedia < 0 || c.Attempts < 0 || c.Parallel < 0 || c.Keep < 0 || !(c.LookupRate >= 0) {
		return errors.New("rates and numbers must not be negative")
	}
	if (c.AccessKey == "") != (c.SecretKey == "") {
		return errors.New("an access key needs a secret key, and the reverse")
	}
	_, err := Official.Sign(c.OfficialSecret, "", time.Time{}, nil)
	return err
}
