package media

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"gocloud.dev/blob"
	"gocloud.dev/blob/driver"
	"gocloud.dev/gcerrors"

	"github.com/klinghook/klinghook/tasks"
)

// pipeListener is a network within a synctest bubble: its connections are
// pipes, so that waiting on them lets the bubble's clock run.
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

// pipeFetcher returns a Fetcher whose every connection leads to the handler.
func pipeFetcher(t *testing.T, cfg Config, answer exchange) *Fetcher {
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

// stall flushes the response and then sends nothing until the client has gone.
func stall(w http.ResponseWriter, r *http.Request) {
	_ = http.NewResponseController(w).Flush()
	<-r.Context().Done()
}

func TestStallMidBodyIsResumed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		video := testVideo(100<<10, 1)
		f := pipeFetcher(t, Config{}, func(w http.ResponseWriter, r *http.Request, n int) {
			w.Header().Set("ETag", `"v1"`)
			if n == 1 {
				w.Header().Set("Content-Length", strconv.Itoa(len(video)))
				_, _ = w.Write(video[:40<<10])
				stall(w, r)
				return
			}
			serveVideo(w, r, video)
		})
		start := time.Now()
		got, _, err := fetch(t, f, pipeURL, Video)
		if err != nil {
			t.Fatal(err)
		}
		same(t, got, video)
		if took, want := time.Since(start), 30*time.Second+minResumeWait; took != want {
			t.Errorf("took %s, want %s: the stall and the wait before the resume", took, want)
		}
	})
}

func TestSilentServerIsAbandoned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := pipeFetcher(t, Config{StallTimeout: time.Minute}, func(_ http.ResponseWriter, r *http.Request, _ int) {
			<-r.Context().Done()
		})
		start := time.Now()
		_, _, err := fetch(t, f, pipeURL, Video)
		if !errors.Is(err, errStalled) || tasks.IsPermanent(err) {
			t.Errorf("Download = %v, want a stall, to be retried", err)
		}
		if took := time.Since(start); took != time.Minute {
			t.Errorf("took %s, want one minute", took)
		}
	})
}

func TestEachRedirectMayTakeItsTime(t *testing.T) {
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
		got, _, err := fetch(t, f, pipeURL, Video)
		if err != nil {
			t.Fatal(err)
		}
		same(t, got, video)
	})
}

func TestServerThatStallsForEverIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		requests := 0
		f := pipeFetcher(t, Config{}, func(w http.ResponseWriter, r *http.Request, n int) {
			requests = n
			w.Header().Set("ETag", `"v1"`)
			if n > 1 {
				w.Header().Set("Content-Range", "bytes 1000-1999/2000")
				w.WriteHeader(http.StatusPartialContent)
			} else {
				w.Header().Set("Content-Length", "2000")
				_, _ = w.Write(testVideo(1000, 1))
			}
			stall(w, r)
		})
		_, _, err := fetch(t, f, pipeURL, Video)
		if !errors.Is(err, errStalled) || !strings.Contains(err.Error(), "given up after 1000 bytes") || requests != 6 {
			t.Errorf("after %d requests: %v, want six and a stall", requests, err)
		}
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
		if _, _, err := fetchContext(ctx, t, f, pipeURL, Video); !errors.Is(err, shutdown) {
			t.Errorf("Download = %v, want the context's cause", err)
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

func TestSlowBucketIsNotTheServersFault(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		requests := 0
		f := pipeFetcher(t, Config{MinRate: 1 << 20}, func(w http.ResponseWriter, r *http.Request, n int) {
			requests = n
			serveVideo(w, r, testVideo(300<<10, 1))
		})
		bucket := &Bucket{blob: blob.NewBucket(slowBucket{})}
		file, err := downloadAndPublish(t.Context(), f, Request{Link: pipeURL, Kind: Video, Bucket: bucket, Object: object})
		if err != nil || file.Size != 300<<10 || requests != 1 {
			t.Errorf("Download = %+v, %v after %d requests, want the file after one", file, err, requests)
		}
		if err := bucket.Close(); err != nil {
			t.Error(err)
		}
	})
}
