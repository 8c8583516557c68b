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

	"github.com/klinghook/klinghook/internal/testenv"
)

// peakMemory returns the most memory that a process has had, in bytes.
func peakMemory(t *testing.T, s *service) int64 {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.process.PID()))
	testenv.NoError(t, err)
	_, peak, _ := strings.Cut(string(status), "VmHWM:")
	kib, err := strconv.ParseInt(strings.Fields(peak)[0], 10, 64)
	testenv.NoError(t, err)
	return kib << 10
}

// openIdle opens n connections and sends one request over each.
func openIdle(t *testing.T, addr string, n int) []net.Conn {
	t.Helper()
	conns := make([]net.Conn, n)
	for i := range conns {
		conn, err := net.Dial("tcp", addr)
		testenv.NoError(t, err)
		t.Cleanup(func() { _ = conn.Close() })
		if status, err := converse(conn, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil || status != http.StatusOK {
			t.Fatalf("connection %d: %d, %v", i, status, err)
		}
		conns[i] = conn
	}
	return conns
}

// converse sends a request as it is and returns the status.
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
func (e *event) raw() string {
	var b strings.Builder
	fmt.Fprintf(&b, "POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n", e.path, len(e.body))
	_ = e.header("").Write(&b) // never fails
	return b.String() + "\r\n" + string(e.body)
}

// slowSender sends start at once and then drop again and again. The server must close
// the connection after within, with this status, or 0 for no answer.
type slowSender struct {
	name, start, drop string
	within            time.Duration
	status            int
}

// slowSenders are ways to occupy a connection. Headers have 5 s and a whole request
// 15 s (internal/process).
func slowSenders() []slowSender {
	var tiny strings.Builder
	for i := range 1100 {
		fmt.Fprintf(&tiny, "%x:\r\n", i)
	}
	const post = "POST /webhooks/klingai HTTP/1.1\r\nHost: x\r\nX-Kling-Signature: sha256=00\r\n"
	return []slowSender{
		{"silent", "", "", 5 * time.Second, 0},
		{"slow request line", "P", "O", 5 * time.Second, http.StatusBadRequest},
		{"slow headers", post, "X-A: b\r\n", 5 * time.Second, 0},
		{"slow body", post + "Content-Length: 1000\r\n\r\n", "{", 15 * time.Second, http.StatusRequestTimeout},
		{"slow large body", post + "Content-Length: 1000000\r\n\r\n" + strings.Repeat("a", 20_000), "a", 15 * time.Second, http.StatusRequestTimeout},
		{"slow chunks", post + "Transfer-Encoding: chunked\r\n\r\n", "1\r\n{\r\n", 15 * time.Second, http.StatusRequestTimeout},
		{"tiny headers", post + tiny.String(), "", 5 * time.Second, 0},
		{"body that stops", post + "Content-Length: 16384\r\n\r\n" + strings.Repeat("a", 16_383), "", 15 * time.Second, http.StatusRequestTimeout},
	}
}

// occupy sends until the server closes the connection, and returns when that was and
// the answer's status.
func (s slowSender) occupy(conn net.Conn) (after time.Duration, status int, err error) {
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
		return time.Since(began), 0, errors.New("the connection stays open")
	}
	_, _ = fmt.Sscanf(string(answer), "HTTP/1.1 %d", &status)
	return time.Since(began), status, nil
}

// TestIdleAndSlowConnectionsAreBounded opens idle connections and slow ones of every
// kind: the slow ones are closed in time, memory is bounded, and deliveries are answered
// meanwhile.
func TestIdleAndSlowConnectionsAreBounded(t *testing.T) {
	t.Parallel()
	const idles, slows, most = 10_000, 2000, 128 << 20
	var files syscall.Rlimit
	testenv.NoError(t, syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files))
	if files.Cur < idles+slows+1000 {
		t.Skipf("needs more than %d open files; run ulimit -n", files.Cur)
	}
	w := newFleet(t, "")
	ingest := w.start(ingestProgram)
	addr := ingest.address("webhooks")
	idle := openIdle(t, addr, idles)
	var wg sync.WaitGroup
	for _, s := range slowSenders() {
		for range slows / len(slowSenders()) {
			conn, err := net.Dial("tcp", addr)
			testenv.NoError(t, err)
			wg.Go(func() {
				after, status, err := s.occupy(conn)
				if err != nil || status != s.status && status != 0 || after > s.within+5*time.Second {
					t.Errorf("%s: closed after %s with %d, %v; want at most %s and %d", s.name, after, status, err, s.within, s.status)
				}
			})
		}
	}
	over := make(chan struct{})
	go func() { defer close(over); wg.Wait() }()
	deliverUntil(t, addr, over)
	last := seed(created, 1, "idle", "")
	if status, err := converse(idle[idles-1], last.raw()); err != nil || status != http.StatusOK {
		t.Errorf("a delivery over an idle connection: %d, %v", status, err)
	}
	peak := peakMemory(t, ingest)
	if peak > most {
		t.Errorf("ingest used %d MiB, want at most %d", peak>>20, most>>20)
	}
	t.Logf("%d idle and %d slow connections: %d MiB at the peak", idles, slows, peak>>20)
}

// deliverUntil sends deliveries, each over a new connection, until over is closed: each
// must be answered with 200 within 5 s.
func deliverUntil(t *testing.T, addr string, over <-chan struct{}) {
	t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	var slowest time.Duration
	for n := 0; ; n++ {
		select {
		case <-over:
			t.Logf("%d deliveries meanwhile, the slowest answered after %s", n, slowest)
			return
		case <-tick.C:
		}
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Error(err)
			continue
		}
		began := time.Now()
		e := seed(created, n%60, fmt.Sprintf("vid_%d", n), "")
		status, err := converse(conn, e.raw())
		took := time.Since(began)
		_ = conn.Close()
		slowest = max(slowest, took)
		if err != nil || status != http.StatusOK || took > 5*time.Second {
			t.Errorf("a delivery was answered %d after %s, %v; want 200 within 5s", status, took, err)
		}
	}
}
