package load

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	vegeta "github.com/tsenart/vegeta/v12/lib"

	"github.com/klinghook/klinghook/internal/source"
)

const secret = "secret"

// receiver answers 200 to what is signed and notes how often each job was sent.
type receiver struct {
	*httptest.Server
	t    *testing.T
	mu   sync.Mutex
	jobs map[string]int
}

func newReceiver(t *testing.T) *receiver {
	r := &receiver{t: t, jobs: make(map[string]int)}
	protocol := source.Protocols()[0]
	src, err := protocol.New([]string{secret})
	if err != nil {
		t.Fatal(err)
	}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, err := io.ReadAll(req.Body)
		if err != nil {
			t.Error(err)
		}
		if _, err := src.Verify(req.Header, body, time.Now()); err != nil || req.URL.Path != protocol.Path {
			t.Errorf("%s %s: %v", req.Method, req.URL, err)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		identity, err := src.Identify(req.Header, body)
		if err != nil {
			t.Error(err)
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		r.jobs[identity.JobID]++
	}))
	t.Cleanup(r.Close)
	return r
}

func requests(t *testing.T, size, count int) *Requests {
	t.Helper()
	r, err := Write(filepath.Join(t.TempDir(), "requests"), secret, size, count)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestEventsAreOfTheirSize(t *testing.T) {
	for _, size := range []int{550, 4096, 64 << 10} {
		for _, video := range []string{"", "http://127.0.0.1/1.mp4"} {
			if n := len((Event{Index: 7, Size: size, Video: video}).Body()); n != size {
				t.Errorf("a body of %d bytes has %d (video %q)", size, n, video)
			}
		}
	}
}

func TestSendAllSendsEachOnce(t *testing.T) {
	to := newReceiver(t)
	if err := SendAll(t.Context(), to.URL+Path, Span{requests(t, 550, 50), 10, 30}, 4); err != nil {
		t.Fatal(err)
	}
	if len(to.jobs) != 30 {
		t.Errorf("%d jobs were sent, want 30", len(to.jobs))
	}
	for _, i := range []int{10, 39} {
		if n := to.jobs[Event{Index: i}.JobID()]; n != 1 {
			t.Errorf("request %d was sent %d times, want once", i, n)
		}
	}
}

func TestSendAllStopsAtARefusal(t *testing.T) {
	busy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) }))
	defer busy.Close()
	err := SendAll(t.Context(), busy.URL+Path, Span{requests(t, 550, 50), 0, 50}, 4)
	if err == nil || !strings.Contains(err.Error(), "503") {
		t.Errorf("error = %v, want one that tells of the 503", err)
	}
}

// TestLoads sends real loads, each of its kind, and expects that all of it arrives
// signed and is counted.
func TestLoads(t *testing.T) {
	for name, send := range map[string]func(context.Context, string, Span) (Result, error){
		"wrk or what stands in": func(ctx context.Context, url string, span Span) (Result, error) {
			return Saturate(ctx, url, span, 4, time.Second)
		},
		"vegeta as fast as it can": func(ctx context.Context, url string, span Span) (Result, error) {
			return saturateWithVegeta(ctx, url, span, 4, 200*time.Millisecond)
		},
		"vegeta at a constant rate": func(ctx context.Context, url string, span Span) (Result, error) {
			return Steady(ctx, url, span, 100, 300*time.Millisecond)
		},
	} {
		t.Run(name, func(t *testing.T) {
			to := newReceiver(t)
			got, err := send(t.Context(), to.URL+Path, Span{requests(t, 550, 20), 5, 10})
			if err != nil {
				t.Fatal(err)
			}
			if got.Errors != 0 || got.Requests < 10 || got.Rate() <= 0 || got.Latencies.Count() == 0 {
				t.Errorf("result = %+v", got)
			}
			if !got.Repeated {
				t.Error("10 requests were enough?")
			}
			if len(to.jobs) > 10 || to.jobs[Event{Index: 4}.JobID()] > 0 || to.jobs[Event{Index: 15}.JobID()] > 0 {
				t.Errorf("jobs outside the span were sent: %v", to.jobs)
			}
		})
	}
}

func TestLate(t *testing.T) {
	began := time.Now()
	rate := vegeta.Rate{Freq: 100, Per: time.Second}
	for _, tt := range []struct {
		name string
		seq  uint64
		sent time.Duration
		want time.Duration
	}{
		{"when it was due", 0, 10 * time.Millisecond, 0},
		{"held up", 4, 250 * time.Millisecond, 200 * time.Millisecond},
		{"early", 9, 95 * time.Millisecond, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := late(began, rate, &vegeta.Result{Seq: tt.seq, Timestamp: began.Add(tt.sent)}); got != tt.want {
				t.Errorf("late = %s, want %s", got, tt.want)
			}
		})
	}
}

func TestReadWrk(t *testing.T) {
	got, err := readWrk([]byte("Running…\n" + `
result {"requests":1000,"us":2000000,"connect":1,"read":0,"write":0,"status":40,"timeout":2,"again":0,"latencies":[[1000,999],[50000,1]]}
`))
	if err != nil {
		t.Fatal(err)
	}
	// Those that were never answered are no requests to wrk.
	if got.Requests != 1003 || got.Errors != 43 || got.Rate() != 480 || got.Repeated || got.Failure == "" {
		t.Errorf("result = %+v, rate %v", got, got.Rate())
	}
	for _, bad := range []string{"", "\nresult {", "\nresult {}"} {
		if _, err := readWrk([]byte(bad)); err == nil {
			t.Errorf("readWrk(%q) found no fault", bad)
		}
	}
}
