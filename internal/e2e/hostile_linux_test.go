package e2e

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/klinghook/klinghook/internal/programs"
	"github.com/klinghook/klinghook/internal/testenv"
)

// startIngest starts the public process on a Redis of its own and returns it with
// its address.
func startIngest(t *testing.T, w *world) (ingest *programs.Service, addr string) {
	t.Helper()
	settings := w.settings("", "")
	for _, name := range []string{"KLINGHOOK_DATABASE_URL", "KLINGHOOK_BUCKET_URL"} {
		delete(settings, name) // not for ingest to know
	}
	settings["KLINGHOOK_REDIS_URL"] = testenv.Redis(t).URL()
	ingest = start(t, "klinghook-ingest", settings)
	addr = ingest.Address("webhooks")
	return ingest, addr
}

// resident returns how much memory a process has, and had at its most, in bytes.
func resident(t *testing.T, s *programs.Service) (now, peak int64) {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.PID()))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		fields := strings.Fields(line)
		switch fields[0] {
		case "VmRSS:", "VmHWM:":
			kib, err := strconv.ParseInt(fields[1], 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			if fields[0] == "VmRSS:" {
				now = kib << 10
			} else {
				peak = kib << 10
			}
		}
	}
	return now, peak
}

// connections returns how many connections a test may open: as many as it wants,
// unless the limit on open files, which the processes inherit, is lower.
func connections(t *testing.T, want int) int {
	t.Helper()
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	// Go has raised the soft limit to the hard one when the process began.
	const others = 1000
	if free := int(min(limit.Cur, 1<<20)) - others; free < want {
		t.Logf("the limit of %d open files leaves %d of %d connections; raise it with ulimit -n", limit.Cur, free, want)
		want = free
	}
	if want < 100 {
		t.Skip("the limit on open files is too low")
	}
	return want
}

// dial connects to addr; the connection ends with the test.
func dial(t *testing.T, addr string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// openIdle opens n connections, each of which is answered once and then kept.
func openIdle(t *testing.T, addr string, n int) []net.Conn {
	t.Helper()
	conns := make([]net.Conn, n)
	var wg sync.WaitGroup
	for from := range 16 {
		wg.Go(func() {
			for i := from; i < n; i += 16 {
				conn, err := net.Dial("tcp", addr)
				if err != nil {
					t.Error(err)
					return
				}
				conns[i] = conn
				if status, err := converse(conn, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil || status != http.StatusOK {
					t.Errorf("connection %d: %d, %v", i, status, err)
				}
			}
		})
	}
	t.Cleanup(func() {
		for _, conn := range conns {
			if conn != nil {
				_ = conn.Close()
			}
		}
	})
	wg.Wait()
	if t.Failed() {
		t.FailNow()
	}
	return conns
}

// converse sends a request as it stands and returns the answer's status.
func converse(conn net.Conn, request string) (int, error) {
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return 0, err
	}
	if _, err := io.WriteString(conn, request); err != nil {
		return 0, err
	}
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return 0, err
	}
	_, err = io.Copy(io.Discard, res.Body)
	return res.StatusCode, errors.Join(err, res.Body.Close())
}

// raw is a delivery as it goes over the wire.
func (r request) raw() string {
	var b strings.Builder
	fmt.Fprintf(&b, "POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n", r.path, len(r.body))
	for name, value := range r.header {
		fmt.Fprintf(&b, "%s: %s\r\n", name, value)
	}
	return b.String() + "\r\n" + r.body
}

// slowSender begins a request and goes on with it a byte at a time.
type slowSender struct {
	name string
	// start is sent at once, and then drop again and again; empty for nothing.
	start, drop string
	// within is when the connection must be over; the answer that must have come
	// by then, or 0 for none.
	within time.Duration
	status int
}

// slowSenders are the ways to hold a connection. Headers have 5 s and a whole
// request 15 s (internal/process).
func slowSenders() []slowSender {
	const post = "POST /webhooks/klingai HTTP/1.1\r\nHost: x\r\nX-Kling-Signature: sha256=00\r\n"
	return []slowSender{
		{"silent", "", "", 5 * time.Second, 0},
		{"slow request line", "P", "O", 5 * time.Second, http.StatusBadRequest},
		{"slow headers", post, "X-A: b\r\n", 5 * time.Second, 0},
		{"slow body", post + "Content-Length: 1000\r\n\r\n", "{", 15 * time.Second, http.StatusRequestTimeout},
		{"slow large body", post + "Content-Length: 1000000\r\n\r\n" + strings.Repeat("a", 20_000), "a", 15 * time.Second, http.StatusRequestTimeout},
		{"slow chunks", post + "Transfer-Encoding: chunked\r\n\r\n", "1\r\n{\r\n", 15 * time.Second, http.StatusRequestTimeout},
		{"body that stops", post + "Content-Length: 1000\r\n\r\n{", "", 15 * time.Second, http.StatusRequestTimeout},
	}
}

// hold sends until the server ends the connection, and says when that was and what
// it had answered.
func (s slowSender) hold(conn net.Conn) (after time.Duration, status int, err error) {
	began := time.Now()
	over := make(chan struct{})
	defer func() { _ = conn.Close(); <-over }()
	go func() {
		defer close(over)
		_, err := io.WriteString(conn, s.start)
		tick := time.NewTicker(250 * time.Millisecond)
		defer tick.Stop()
		for ; err == nil && s.drop != ""; <-tick.C {
			_, err = io.WriteString(conn, s.drop)
		}
	}()
	if err := conn.SetReadDeadline(began.Add(patience)); err != nil {
		return 0, 0, err
	}
	answer, err := io.ReadAll(conn)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return time.Since(began), 0, errors.New("the connection was never ended")
	}
	_, _ = fmt.Sscanf(string(answer), "HTTP/1.1 %d", &status)
	return time.Since(began), status, nil
}

// TestHostileConnections holds 10,000 idle connections and slow ones of every kind
// against one ingest: the slow ones are ended when their time is over, memory stays
// within what a connection may cost, and deliveries are answered all the while.
func TestHostileConnections(t *testing.T) {
	t.Parallel()
	const perConnection, base, slowOfAKind = 32 << 10, 64 << 20, 20
	w := newWorld(t)
	ingest, addr := startIngest(t, w)
	idle := openIdle(t, addr, connections(t, 10_000))
	var wg sync.WaitGroup
	for _, s := range slowSenders() {
		for range slowOfAKind {
			conn := dial(t, addr)
			wg.Go(func() {
				after, status, err := s.hold(conn)
				if err != nil || status != s.status || after < s.within-time.Second || after > s.within+5*time.Second {
					t.Errorf("%s: ended after %s with %d, %v; want about %s and %d", s.name, after, status, err, s.within, s.status)
				}
			})
		}
	}
	over := make(chan struct{})
	go func() { defer close(over); wg.Wait() }()
	deliverUntil(t, w, addr, over)
	for _, i := range []int{0, len(idle) / 2, len(idle) - 1} {
		if status, err := converse(idle[i], w.seed("video.created", 1, fmt.Sprintf("idle-%d", i), "").raw()); err != nil || status != http.StatusOK {
			t.Errorf("a delivery over idle connection %d: %d, %v", i, status, err)
		}
	}
	now, peak := resident(t, ingest)
	if most := int64(base + perConnection*len(idle)); peak > most {
		t.Errorf("with %d connections ingest took %d MiB, want %d at most", len(idle), peak>>20, most>>20)
	}
	t.Logf("%d idle connections: %d MiB resident, %d MiB at most", len(idle), now>>20, peak>>20)
}

// deliverUntil sends real deliveries, each over a connection of its own, until over
// is closed: each must be answered with 200, and soon.
func deliverUntil(t *testing.T, w *world, addr string, over <-chan struct{}) {
	t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	var slowest time.Duration
	for n := 0; ; n++ {
		select {
		case <-over:
			t.Logf("%d deliveries beside them, the slowest answered after %s", n, slowest)
			return
		case <-tick.C:
		}
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Error(err)
			continue
		}
		began := time.Now()
		status, err := converse(conn, w.seed("video.created", n%60, fmt.Sprintf("vid_%d", n), "").raw())
		took := time.Since(began)
		_ = conn.Close()
		slowest = max(slowest, took)
		if err != nil || status != http.StatusOK || took > 5*time.Second {
			t.Errorf("a delivery was answered %d after %s, %v; want 200 within 5s", status, took, err)
		}
	}
}

// TestHostileBodiesInMemory lets strangers send all of a large body but its last
// byte: what ingest keeps of all of them is bounded, and small deliveries are
// answered beside them.
func TestHostileBodiesInMemory(t *testing.T) {
	t.Parallel()
	const senders, size, most = 256, 1 << 20, 128 << 20
	w := newWorld(t)
	ingest, addr := startIngest(t, w)
	body := strings.Repeat("a", size-1)
	var wg sync.WaitGroup
	for range senders {
		conn := dial(t, addr)
		wg.Go(func() {
			// The server stops reading those for which it has no place.
			_ = conn.SetWriteDeadline(time.Now().Add(2 * time.Second))
			_, _ = fmt.Fprintf(conn, "POST /webhooks/klingai HTTP/1.1\r\nHost: x\r\nX-Kling-Signature: sha256=00\r\nContent-Length: %d\r\n\r\n%s", size, body)
		})
	}
	wg.Wait()
	if status, err := converse(dial(t, addr), w.seed("video.created", 1, "vid_1", "").raw()); err != nil || status != http.StatusOK {
		t.Errorf("a small delivery: %d, %v, want 200", status, err)
	}
	// It has read what it will once its memory has not grown for a while.
	var last int64
	same := 0
	eventually(t, "ingest to have read", func() (bool, string) {
		_, peak := resident(t, ingest)
		if same++; peak != last {
			same, last = 0, peak
		}
		return same == 10, fmt.Sprintf("%d bytes", peak)
	})
	if last > most {
		t.Errorf("%d bodies of %d bytes took %d MiB, want %d at most", senders, size, last>>20, most>>20)
	}
	t.Logf("%d bodies of %d bytes: %d MiB at most", senders, size, last>>20)
}
