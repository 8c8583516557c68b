package media

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/klinghook/klinghook/tasks"
)

// Config configures a Fetcher. Its zero value works.
type Config struct {
	// MaxSize is the largest video, in bytes; default 2 GiB. It applies to watermarked
	// copies and elements too. Images and audio have their own limits.
	MaxSize int64
	// Allow lists host:port pairs, IPv6 hosts in brackets, that may be reached even if they
	// are private or plain http. A link's default port is 443 or 80.
	Allow []string
	// Deny lists hosts that may never be reached, with their subdomains, and networks
	// that may be reached only if Allow lists them.
	Deny []string
	// Only, if set, lists all hosts that may be reached, with their subdomains, besides
	// those in Allow.
	Only []string
	// FakeIP allows names that resolve to 198.18.0.0/15: in some networks the resolver
	// answers so, and a proxy maps the addresses back to names.
	FakeIP bool
	// StallTimeout is the longest wait for a server's headers, including the connection,
	// and then for each next byte; default 30 s. The context bounds the whole download.
	StallTimeout time.Duration
	// MinRate is the lowest rate of a body in bytes per second, averaged over each
	// RateWindow; default 1 KiB/s, none if negative. A slower server is treated like one
	// that stalled. Only the time spent waiting for the server counts.
	MinRate int64
	// RateWindow is the period of MinRate; default 1 min.
	RateWindow time.Duration
	// MaxResumes is how many resumes in a row of a broken download may fail before the
	// attempt fails; default 5, none if negative. A resume that brings new bytes at
	// MinRate resets the count.
	MaxResumes int
	// UserAgent is sent with each request; default "klinghook".
	UserAgent string
	// Resolver resolves names; default [net.DefaultResolver].
	Resolver *net.Resolver
	// Metrics, if set, is where the Fetcher registers its metrics.
	Metrics prometheus.Registerer
}

// File is a complete download, not visible in the bucket until it is published.
type File struct {
	// Object is its name in the bucket.
	Object string
	// Size is in bytes.
	Size int64
	// SHA256 is in lower-case hex.
	SHA256 string
	// ContentType is detected from the bytes, else as the server declared.
	ContentType string

	up *upload // nil once published or discarded
}

// Publish makes the file visible as its object, atomically and, in a file bucket, durably.
// It may be called once, before the context of Download ends. After an error the object
// may be visible, for instance if only its folder could not be synced.
func (f *File) Publish() error {
	if f.up == nil {
		return errors.New("publish: the file was published or discarded before")
	}
	upload := f.up
	f.up = nil
	return upload.publish()
}

// Discard drops the file unless it was published.
func (f *File) Discard() {
	if f.up != nil {
		f.up.abort()
		f.up = nil
	}
}

// Request is one file to download.
type Request struct {
	// Link is where the file is.
	Link string
	// Kind decides which types of files are accepted, and their largest size.
	Kind tasks.MediaKind
	// Bucket is where it goes.
	Bucket *Bucket
	// Object is its name there without the extension, which the content decides. An
	// existing object is replaced.
	Object string
	// Progress, if set, is called with the received bytes and the size of the file, -1 if
	// unknown. After a restart received is less.
	Progress func(received, total int64)
}

// Fetcher downloads files. It is safe for concurrent use and keeps no connections, so
// that the guard checks every request.
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
	g := newGuard(cfg)
	// With HTTP/2, downloads would share a connection, and a resume would use the broken one.
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	received := prometheus.NewCounter(prometheus.CounterOpts{
		Name: "klinghook_download_bytes_total",
		Help: "Bytes of files received, including failed downloads.",
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

// Download downloads the file behind a link. The caller publishes or discards it.
//
// Errors are retryable unless [tasks.IsPermanent] reports otherwise: refusals of the
// guard ([ErrForbiddenAddress]), malformed links ([ErrMalformedLink]), files that are too
// large, and statuses such as 404 and 410 are permanent. Answers without the file match
// *[StatusError], with [tasks.RetryAfterOf] if a 429 or 503 asked for a wait. No error
// includes the link's query.
func (f *Fetcher) Download(ctx context.Context, r Request) (*File, error) {
	u, err := f.guard.parse(nil, r.Link)
	if err != nil {
		return nil, tasks.Permanent(fmt.Errorf("fetch %s: %w", r.Object, briefError{err}))
	}
	if families(r.Kind) == nil {
		return nil, tasks.Permanent(fmt.Errorf("fetch %s: %q is not a kind of file", r.Object, r.Kind))
	}
	d := &download{Request: r, fetcher: f, link: u}
	file, err := d.run(ctx)
	if err == nil {
		return file, nil
	}
	err = fmt.Errorf("fetch %s from %s: %w", r.Object, u.Host, briefError{err})
	if errors.Is(err, ErrForbiddenAddress) {
		err = tasks.Permanent(err)
	}
	return nil, err
}

// briefError bounds the text of an error, which may quote a link or a server.
type briefError struct{ error }

func (e briefError) Error() string {
	const most = 500
	text := e.error.Error()
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + "…"
	}
	return text
}

func (e briefError) Unwrap() error { return e.error }

// maxRedirects is how many redirects one request may take.
const maxRedirects = 5

// get sends a request and follows redirects, each checked by the guard. net/http's
// client would send the link to the next host (Referer) and quote a bad Location in its
// error. The jar keeps cookies, which some hosts set with a redirect. arrived is called
// for each response.
func (f *Fetcher) get(ctx context.Context, u *url.URL, header http.Header, jar http.CookieJar, arrived func()) (*http.Response, error) {
	for range maxRedirects + 1 {
		req := (&http.Request{Method: http.MethodGet, URL: u, Header: header.Clone()}).WithContext(ctx)
		for _, cookie := range jar.Cookies(u) {
			req.AddCookie(cookie)
		}
		resp, err := f.transport.RoundTrip(req)
		if err != nil {
			return nil, err
		}
		arrived()
		jar.SetCookies(u, resp.Cookies())
		location := redirect(resp)
		if location == "" {
			return resp, nil
		}
		_ = resp.Body.Close()
		from := u.Host
		if u, err = f.guard.parse(u, location); err != nil {
			return nil, fmt.Errorf("%s redirects: %w", from, err)
		}
	}
	return nil, fmt.Errorf("more than %d redirects", maxRedirects)
}

// redirect returns the target of a redirect; empty if the response is final. A redirect
// without a target is final, and its status is an error.
func redirect(resp *http.Response) string {
	switch resp.StatusCode {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther,
		http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		return resp.Header.Get("Location")
	}
	return ""
}
