package media

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/klinghook/klinghook/tasks"
)

// drip is a ResponseWriter that sends the first bytes at once, then size bytes at a time,
// each after a wait, and cuts the connection after some drips.
type drip struct {
	http.ResponseWriter
	ctx   context.Context
	first int
	size  int
	every time.Duration
	cut   int // 0: never
}

func (d *drip) Write(p []byte) (int, error) {
	flush := http.NewResponseController(d.ResponseWriter).Flush
	n := min(d.first, len(p))
	d.first -= n
	if _, err := d.ResponseWriter.Write(p[:n]); err != nil {
		return 0, err
	}
	for n < len(p) {
		if err := flush(); err != nil {
			return n, err
		}
		select {
		case <-time.After(d.every):
		case <-d.ctx.Done():
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

func TestTricklingServerIsGivenUpInTime(t *testing.T) {
	const waits = 3100 * time.Millisecond // before the five resumes
	tests := []struct {
		name   string
		cfg    Config
		header time.Duration
		drip   drip
		etag   string
		want   time.Duration
	}{
		{"resumed", Config{}, 0, drip{size: 1, every: 5 * time.Second}, `"v1"`, 6*time.Minute + waits},
		{"started again", Config{}, 0, drip{size: 1, every: 5 * time.Second}, "", 6*time.Minute + waits},
		{"after the first bytes", Config{}, 0, drip{first: 1000, size: 1, every: 5 * time.Second}, `"v1"`, 6*time.Minute + waits},
		{"cut before the window ends", Config{}, 0, drip{size: 1, every: 5 * time.Second, cut: 11}, `"v1"`, 6*55*time.Second + waits},
		{"late headers, then a byte", Config{}, 29 * time.Second, drip{size: 1, every: time.Second, cut: 1}, `"v1"`, 6*30*time.Second + waits},
		{"a byte, then silence", Config{}, 0, drip{first: 1, size: 1, every: time.Hour}, `"v1"`, 6*30*time.Second + waits},
		{"just below the rate", Config{}, 0, drip{size: 1023, every: time.Second}, `"v1"`, 6*time.Minute + waits},
		{"other limits", Config{MinRate: 100_000, RateWindow: 10 * time.Second, MaxResumes: 1}, 0, drip{size: 99_999, every: time.Second}, `"v1"`, 20*time.Second + minResumeWait},
		{"no resumes", Config{MaxResumes: -1}, 0, drip{size: 1, every: 5 * time.Second}, `"v1"`, time.Minute},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				video := testVideo(4<<20, 1)
				f := pipeFetcher(t, tt.cfg, func(w http.ResponseWriter, r *http.Request, _ int) {
					if tt.etag != "" {
						w.Header().Set("ETag", tt.etag)
					}
					<-time.After(tt.header)
					d := tt.drip
					d.ResponseWriter, d.ctx = w, r.Context()
					if tt.etag == "" {
						_, _ = d.Write(video)
						return
					}
					serveVideo(&d, r, video)
				})
				start := time.Now()
				_, _, err := fetch(t, f, pipeURL, Video)
				if err == nil || tasks.IsPermanent(err) || (tt.drip.cut == 0 && !errors.Is(err, errStalled)) {
					t.Errorf("Download = %v, want a stall, to be retried", err)
				}
				if took := time.Since(start); took != tt.want {
					t.Errorf("took %s, want %s: %v", took, tt.want, err)
				}
			})
		})
	}
}

func TestSlowServerIsNotDropped(t *testing.T) {
	tests := []struct {
		name string
		cfg  Config
		size int
		drip drip
	}{
		{"50 KB/s", Config{}, 10 << 20, drip{size: 10_000, every: 200 * time.Millisecond}},
		{"50 KB/s, with outages", Config{}, 20 << 20, drip{size: 1_500_000, every: 29 * time.Second}},
		{"at the rate", Config{}, 200 << 10, drip{size: 1024, every: time.Second}},
		{"small", Config{}, 50, drip{size: 1, every: time.Second}},
		{"no rate", Config{MinRate: -1}, 1000, drip{size: 1, every: 5 * time.Second}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				video, requests := testVideo(tt.size, 1), 0
				f := pipeFetcher(t, tt.cfg, func(w http.ResponseWriter, r *http.Request, n int) {
					requests = n
					d := tt.drip
					d.ResponseWriter, d.ctx = w, r.Context()
					serveVideo(&d, r, video)
				})
				got, _, err := fetch(t, f, pipeURL, Video)
				if err != nil {
					t.Fatal(err)
				}
				same(t, got, video)
				if requests != 1 {
					t.Errorf("%d requests, want one", requests)
				}
			})
		})
	}
}

func TestTrickleAfterProgressIsResumed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		video, requests := testVideo(2000<<10, 1), 0
		f := pipeFetcher(t, Config{}, func(w http.ResponseWriter, r *http.Request, n int) {
			requests = n
			w.Header().Set("ETag", `"v1"`)
			serveVideo(&drip{ResponseWriter: w, ctx: r.Context(), first: 200 << 10, size: 1, every: 5 * time.Second}, r, video)
		})
		got, _, err := fetch(t, f, pipeURL, Video)
		if err != nil {
			t.Fatal(err)
		}
		same(t, got, video)
		if requests != 10 {
			t.Errorf("%d requests, want ten", requests)
		}
	})
}
