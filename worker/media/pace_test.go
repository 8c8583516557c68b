package media

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"gocloud.dev/blob"
	"gocloud.dev/blob/driver"
	"gocloud.dev/gcerrors"

	"github.com/klinghook/klinghook/tasks"
)

// pipeListener is a network in a synctest bubble: its connections are pipes, so that the
// bubble's clock runs while they wait.
type pipeListener struct {
	conns  chan net.Conn
	closed chan struct{}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error {
	close(l.closed)
	return nil
}

func (*pipeListener) Addr() net.Addr { return &net.TCPAddr{} }

const pipeURL = "http://media.test/a.mp4"

// pipeFetcher returns a Fetcher that always connects to the handler, which gets the
// number of the request, from 1.
func pipeFetcher(t *testing.T, cfg Config, answer func(w http.ResponseWriter, r *http.Request, n int)) *Fetcher {
	t.Helper()
	ln := &pipeListener{conns: make(chan net.Conn), closed: make(chan struct{})}
	n := 0 // requests come one after the other
	srv := &http.Server{ReadHeaderTimeout: time.Hour, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n++
		answer(w, r, n)
	})}
	go func() { _ = srv.Serve(ln) }()
	t.Cleanup(func() { _ = srv.Close() })
	cfg.Allow = []string{"media.test:80"}
	f := NewFetcher(cfg)
	f.transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
		client, server := net.Pipe()
		select {
		case ln.conns <- server:
			return client, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return f
}

// drip is a ResponseWriter that sends the first bytes at once, then size bytes at a time,
// each after a wait, and cuts the connection after some drips.
type drip struct {
	http.ResponseWriter
	ctx         context.Context
	first, size int
	every       time.Duration
	cut         int // 0: never
}

// to returns the drip for a response.
func (d drip) to(w http.ResponseWriter, r *http.Request) *drip {
	d.ResponseWriter, d.ctx = w, r.Context()
	return &d
}

func (d *drip) Write(p []byte) (int, error) {
	n := min(d.first, len(p))
	d.first -= n
	if _, err := d.ResponseWriter.Write(p[:n]); err != nil {
		return 0, err
	}
	for n < len(p) {
		_ = http.NewResponseController(d.ResponseWriter).Flush()
		if !pause(d.ctx, d.every) {
			return n, d.ctx.Err()
		}
		next := min(n+d.size, len(p))
		if _, err := d.ResponseWriter.Write(p[n:next]); err != nil {
			return n, err
		}
		n = next
		if d.cut--; d.cut == 0 {
			hangUp(d.ResponseWriter)
		}
	}
	return n, nil
}

// pause waits, and reports false if the client disconnects.
func pause(ctx context.Context, wait time.Duration) bool {
	select {
	case <-time.After(wait):
		return true
	case <-ctx.Done():
		return false
	}
}

// serveVideo serves a video with ranges, as a correct server does.
func serveVideo(w http.ResponseWriter, r *http.Request, video []byte) {
	http.ServeContent(w, r, "", time.Unix(0, 0), bytes.NewReader(video))
}

func TestTricklingServerIsGivenUpInTime(t *testing.T) {
	const waits = 3100 * time.Millisecond // before the five resumes
	trickle := drip{size: 1, every: 5 * time.Second}
	tests := []struct {
		name   string
		cfg    Config
		header time.Duration
		drip   drip
		etag   string
		want   time.Duration
	}{
		{"resumed", Config{}, 0, trickle, `"v1"`, 6*time.Minute + waits},
		{"started again", Config{}, 0, trickle, "", 6*time.Minute + waits},
		{"after the first bytes", Config{}, 0, drip{first: 1000, size: 1, every: 5 * time.Second}, `"v1"`, 6*time.Minute + waits},
		{"cut before the window ends", Config{}, 0, drip{size: 1, every: 5 * time.Second, cut: 11}, `"v1"`, 6*55*time.Second + waits},
		{"late headers, then a byte", Config{}, 29 * time.Second, drip{size: 1, every: time.Second, cut: 1}, `"v1"`, 6*30*time.Second + waits},
		{"no headers", Config{StallTimeout: time.Minute}, time.Hour, drip{}, "", time.Minute},
		{"a byte, then silence", Config{}, 0, drip{first: 1, size: 1, every: time.Hour}, `"v1"`, 6*30*time.Second + waits},
		{"just below the rate", Config{}, 0, drip{size: 1023, every: time.Second}, `"v1"`, 6*time.Minute + waits},
		{"other limits", Config{MinRate: 100_000, RateWindow: 10 * time.Second, MaxResumes: 1}, 0, drip{size: 99_999, every: time.Second}, `"v1"`, 20*time.Second + minResumeWait},
		{"no resumes", Config{MaxResumes: -1}, 0, trickle, `"v1"`, time.Minute},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				video := testVideo(4<<20, 1)
				f := pipeFetcher(t, tt.cfg, func(w http.ResponseWriter, r *http.Request, _ int) {
					if !pause(r.Context(), tt.header) {
						return
					}
					if tt.etag == "" {
						_, _ = tt.drip.to(w, r).Write(video)
						return
					}
					w.Header().Set("ETag", tt.etag)
					serveVideo(tt.drip.to(w, r), r, video)
				})
				start := time.Now()
				_, _, err := fetch(t, f, pipeURL, tasks.MediaVideo)
				if err == nil || tasks.IsPermanent(err) || tt.drip.cut == 0 && !errors.Is(err, errStalled) {
					t.Errorf("Download = %v, want a stall, to be retried", err)
				}
				if took := time.Since(start); took != tt.want {
					t.Errorf("took %s, want %s: %v", took, tt.want, err)
				}
			})
		})
	}
}

func TestSlowServerIsNotGivenUp(t *testing.T) {
	tests := []struct {
		name     string
		cfg      Config
		size     int
		drip     drip
		requests int
	}{
		{"50 KB/s", Config{}, 10 << 20, drip{size: 10_000, every: 200 * time.Millisecond}, 1},
		{"50 KB/s, with outages", Config{}, 20 << 20, drip{size: 1_500_000, every: 29 * time.Second}, 1},
		{"at the rate", Config{}, 200 << 10, drip{size: 1024, every: time.Second}, 1},
		{"small", Config{}, 50, drip{size: 1, every: time.Second}, 1},
		{"no rate", Config{MinRate: -1}, 1000, drip{size: 1, every: 5 * time.Second}, 1},
		{"trickle after progress", Config{}, 2000 << 10, drip{first: 200 << 10, size: 1, every: 5 * time.Second}, 10},
		{"stall after progress", Config{}, 100 << 10, drip{first: 40 << 10, size: 1, every: time.Hour}, 3},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				video, requests := testVideo(tt.size, 1), 0
				f := pipeFetcher(t, tt.cfg, func(w http.ResponseWriter, r *http.Request, n int) {
					requests = n
					w.Header().Set("ETag", `"v1"`)
					serveVideo(tt.drip.to(w, r), r, video)
				})
				got, _, err := fetch(t, f, pipeURL, tasks.MediaVideo)
				if err != nil {
					t.Fatal(err)
				}
				same(t, got, video)
				if requests != tt.requests {
					t.Errorf("%d requests, want %d", requests, tt.requests)
				}
			})
		})
	}
}
func TestEachRedirectHasItsOwnTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		video := testVideo(1000, 1)
		f := pipeFetcher(t, Config{}, func(w http.ResponseWriter, r *http.Request, n int) {
			<-time.After(20 * time.Second)
			if n < 3 {
				http.Redirect(w, r, r.URL.String(), http.StatusFound)
				return
			}
			_, _ = w.Write(video)
		})
		got, _, err := fetch(t, f, pipeURL, tasks.MediaVideo)
		if err != nil {
			t.Fatal(err)
		}
		same(t, got, video)
	})
}

func TestDownloadEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shutdown := errors.New("shutdown")
		ctx, cancel := context.WithCancelCause(t.Context())
		f := pipeFetcher(t, Config{}, func(w http.ResponseWriter, r *http.Request, _ int) {
			_, _ = w.Write(testVideo(1000, 1))
			_ = http.NewResponseController(w).Flush()
			cancel(shutdown)
			<-r.Context().Done()
		})
		bucket, dir := fileBucketIn(t)
		_, err := f.Download(ctx, Request{Link: pipeURL, Kind: tasks.MediaVideo, Bucket: bucket, Object: objectName})
		if left := filesIn(t, dir); !errors.Is(err, shutdown) || len(left) > 0 {
			t.Errorf("Download = %v and left %q, want the context's cause and no file", err, left)
		}
	})
}

// slowBucket takes a minute for each write.
type slowBucket struct{ driver.Bucket }

func (slowBucket) NewTypedWriter(context.Context, string, string, *driver.WriterOptions) (driver.Writer, error) {
	return slowWriter{}, nil
}

func (slowBucket) ErrorCode(error) gcerrors.ErrorCode { return gcerrors.Unknown }

func (slowBucket) Close() error { return nil }

type slowWriter struct{}

func (slowWriter) Write(p []byte) (int, error) {
	<-time.After(time.Minute)
	return len(p), nil
}

func (slowWriter) Close() error { return nil }

func TestSlowBucketDoesNotCountAgainstTheServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		requests := 0
		f := pipeFetcher(t, Config{MinRate: 1 << 20}, func(w http.ResponseWriter, r *http.Request, n int) {
			requests = n
			serveVideo(w, r, testVideo(300<<10, 1))
		})
		bucket := &Bucket{blob: blob.NewBucket(slowBucket{})}
		file, err := downloadAndPublish(t.Context(), f, Request{Link: pipeURL, Kind: tasks.MediaVideo, Bucket: bucket, Object: objectName})
		if err != nil || file.Size != 300<<10 || requests != 1 {
			t.Errorf("Download = %+v, %v after %d requests, want the file after one", file, err, requests)
		}
		if err := bucket.Close(); err != nil {
			t.Error(err)
		}
	})
}
