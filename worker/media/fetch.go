package media

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/klinghook/klinghook/tasks"
)

// Config is how downloads are made. Its zero value is ready for use.
type Config struct {
	// MaxSize is the largest file, in bytes; default 2 GiB.
	MaxSize int64
	// Allow lists what may be reached although it is private or plain http: each
	// entry a host:port, an IPv6 host in brackets, compared with the link's host
	// and port (443 or 80 where it has none). What is of another form matches
	// nothing.
	Allow []string
	// StallTimeout is the longest wait for a server's headers, connecting
	// included, and then for each next byte; default 30 s. How long a whole
	// download may take is up to its context.
	StallTimeout time.Duration
	// MinRate is how fast a body must come, in bytes per second, averaged over each
	// RateWindow; default 1 KiB/s, none when negative. A server that sends less is
	// treated as one that stalled, and so dropped and resumed. Only the time spent
	// waiting for the server counts, not what the bucket takes.
	//
	// Nor does what comes slower count as progress for MaxResumes: an attempt
	// against a server that trickles ends after about (MaxResumes+1) × RateWindow,
	// which is six minutes by default.
	MinRate int64
	// RateWindow is what MinRate is averaged over; default 1 min. The first window
	// begins with the response's body, and each resume begins a new one.
	RateWindow time.Duration
	// MaxResumes is how often in a row a broken download is resumed to no avail
	// before the attempt is given up; default 5, none when negative. A resume that
	// brings new bytes, at MinRate or more since its request was sent, starts the
	// count anew: what grows is worth finishing, and the context bounds it. Bytes
	// that are fetched a second time, after a restart from zero, are not new.
	MaxResumes int
	// UserAgent is sent with each request; default "klinghook".
	UserAgent string
	// Lookup resolves names; default the system's resolver.
	Lookup LookupFunc
	// Metrics, where set, is where the Fetcher registers its metrics.
	Metrics prometheus.Registerer
}

// File is what a download put into the bucket.
type File struct {
	// Object is its name in the bucket.
	Object string
	// Size is in bytes.
	Size int64
	// SHA256 is in lower-case hex.
	SHA256 string
	// ContentType is what the bytes show it to be, else what the server declared.
	ContentType string
}

// Request is one file to download.
type Request struct {
	// Link is where the file is.
	Link string
	// Kind is what it must be.
	Kind Kind
	// Bucket is where it goes.
	Bucket *Bucket
	// Object is its name there; one that is there already is replaced.
	Object string
	// Publish decides whether it becomes visible; by default it does.
	Publish PublishFunc
	// Progress, where set, is told how much of the file was received, and how large
	// it is, -1 where the server does not say. After a restart received is less.
	Progress func(received, total int64)
}

// PublishFunc is called once a file is whole and checked, with what would become
// the object and the context of Download. It calls put, which makes the object
// visible and, in a file bucket, lasting; or it returns without, and then nothing
// of the file remains: with an error, or with nil to drop it without one.
//
// It calls put once at most, from its own goroutine. After an error of put the
// object may yet be visible, as when only its folder could not be synced; after
// an error that Publish returns in spite of a put, it is.
type PublishFunc func(ctx context.Context, file File, put func() error) error

// Fetcher downloads files. It is safe for concurrent use and keeps no
// connections, so that every request is judged by the guard anew.
type Fetcher struct {
	cfg       Config
	guard     *guard
	transport *http.Transport
	received  prometheus.Counter
}

// NewFetcher returns a Fetcher. It need not be closed.
func NewFetcher(cfg Config) *Fetcher {
	cfg.MaxSize = cmp.Or(cfg.MaxSize, 2<<30)
	cfg.StallTimeout = cmp.Or(cfg.StallTimeout, 30*time.Second)
	cfg.MinRate = cmp.Or(cfg.MinRate, 1<<10)
	cfg.RateWindow = cmp.Or(cfg.RateWindow, time.Minute)
	cfg.MaxResumes = cmp.Or(cfg.MaxResumes, 5)
	cfg.UserAgent = cmp.Or(cfg.UserAgent, "klinghook")
	if cfg.Lookup == nil {
		cfg.Lookup = func(ctx context.Context, host string) ([]netip.Addr, error) {
			return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
		}
	}
	g := newGuard(cfg.Allow, cfg.Lookup, cfg.StallTimeout)
	// One connection for each request also spares a resumed download the broken
	// one, and HTTP/2 would share it among downloads.
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	received := prometheus.NewCounter(prometheus.CounterOpts{
		Name: "klinghook_download_bytes_total",
		Help: "Bytes of files that were received, also of downloads that came to nothing.",
	})
	if cfg.Metrics != nil {
		cfg.Metrics.MustRegister(received)
	}
	return &Fetcher{cfg: cfg, guard: g, received: received, transport: &http.Transport{
		Proxy:                  nil,
		DialContext:            g.dial,
		TLSHandshakeTimeout:    cfg.StallTimeout,
		DisableKeepAlives:      true,
		DisableCompression:     true,
		MaxResponseHeaderBytes: 64 << 10,
		Protocols:              protocols,
	}}
}

// Download brings the file behind a link into the bucket under the object's
// name, replacing one that is there. The object appears whole or not at all. Two
// downloads of one object at once are safe; the later one stays. A file that the
// request's Publish dropped is a zero File and no error.
//
// Errors are for another attempt unless [tasks.IsPermanent] says otherwise:
// refusals of the guard ([ErrForbiddenAddress]), files above MaxSize, and
// statuses that stand, such as 404 and 410, are permanent. Answers without the
// file match *[StatusError], with [tasks.RetryAfterOf] where a 429 or 503 asked
// for a wait. Errors of Publish and of put are wrapped as they are. No error
// includes the link's query, unless one of Publish does.
func (f *Fetcher) Download(ctx context.Context, r Request) (File, error) {
	u, err := f.guard.parse(r.Link)
	if err != nil {
		return File{}, tasks.Permanent(fmt.Errorf("fetch %s: %w", r.Object, err))
	}
	d := &download{Request: r, fetcher: f, link: u}
	file, err := d.run(ctx)
	if err == nil {
		return file, nil
	}
	err = fmt.Errorf("fetch %s from %s: %w", r.Object, u.Host, err)
	if errors.Is(err, ErrForbiddenAddress) {
		err = tasks.Permanent(err)
	}
	return File{}, err
}

// maxRedirects is how many redirects one request may take.
const maxRedirects = 5

// get sends a request and follows redirects, each of which the guard judges.
// net/http's client would tell the next host the link that led to it (Referer),
// and quote a bad Location whole in its error. arrived is called with each
// answer.
func (f *Fetcher) get(ctx context.Context, u *url.URL, header http.Header, arrived func()) (*http.Response, error) {
	for range maxRedirects + 1 {
		req := (&http.Request{Method: http.MethodGet, URL: u, Header: header}).WithContext(ctx)
		resp, err := f.transport.RoundTrip(req)
		if err != nil {
			return nil, err
		}
		arrived()
		location := redirect(resp)
		if location == "" {
			return resp, nil
		}
		_ = resp.Body.Close() // nothing of it is wanted
		from := u.Host
		if u, err = u.Parse(location); err != nil {
			return nil, fmt.Errorf("%s redirects to what is not a URL", from)
		}
		if err := f.guard.check(u); err != nil {
			return nil, fmt.Errorf("%s redirects: %w", from, err)
		}
	}
	return nil, fmt.Errorf("more than %d redirects", maxRedirects)
}

// redirect returns where a response sends its reader; empty for one that is
// final. A redirect that says nowhere is final too, and its status an error.
func redirect(resp *http.Response) string {
	switch resp.StatusCode {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther,
		http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		return resp.Header.Get("Location")
	}
	return ""
}
