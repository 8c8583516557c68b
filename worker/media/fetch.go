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
	// MaxResumes is how often in a row a broken download is resumed without a
	// single new byte before the attempt is given up; default 5, none when
	// negative. A resume that brings something starts the count anew: what grows
	// is worth finishing, and the context bounds it. Bytes that are fetched a
	// second time, after a restart from zero, are not new.
	MaxResumes int
	// UserAgent is sent with each request; default "klinghook".
	UserAgent string
	// Lookup resolves names; default the system's resolver.
	Lookup LookupFunc
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

// Fetcher downloads files. It is safe for concurrent use and keeps no
// connections, so that every request is judged by the guard anew.
type Fetcher struct {
	cfg       Config
	guard     *guard
	transport *http.Transport
}

// NewFetcher returns a Fetcher. It need not be closed.
func NewFetcher(cfg Config) *Fetcher {
	cfg.MaxSize = cmp.Or(cfg.MaxSize, 2<<30)
	cfg.StallTimeout = cmp.Or(cfg.StallTimeout, 30*time.Second)
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
	return &Fetcher{cfg: cfg, guard: g, transport: &http.Transport{
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
// downloads of one object at once are safe; the later one stays.
//
// Errors are for another attempt unless [tasks.IsPermanent] says otherwise:
// refusals of the guard ([ErrForbiddenAddress]), files above MaxSize, and
// statuses that stand, such as 404 and 410, are permanent. Answers without the
// file match *[StatusError], with [tasks.RetryAfterOf] where a 429 or 503 asked
// for a wait. No error includes the link's query.
func (f *Fetcher) Download(ctx context.Context, link string, kind Kind, bucket *Bucket, object string) (File, error) {
	u, err := f.guard.parse(link)
	if err != nil {
		return File{}, tasks.Permanent(fmt.Errorf("fetch %s: %w", object, err))
	}
	d := &download{fetcher: f, link: u, kind: kind, bucket: bucket, object: object}
	file, err := d.run(ctx)
	if err == nil {
		return file, nil
	}
	err = fmt.Errorf("fetch %s from %s: %w", object, u.Host, err)
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
