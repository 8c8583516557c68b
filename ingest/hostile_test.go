package ingest_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hibiken/asynq"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"

	"github.com/klinghook/klinghook/ingest"
	"github.com/klinghook/klinghook/internal/process"
	"github.com/klinghook/klinghook/internal/simulate"
	"github.com/klinghook/klinghook/internal/testenv"
	"github.com/klinghook/klinghook/tasks"
)

// outside is ingest as the internet sees it: on a TCP listener with our limits, and with Redis.
type outside struct {
	addr      string
	inspector *asynq.Inspector
}

func newOutside(t *testing.T, maxBody int64) *outside {
	t.Helper()
	rdb := redis.NewClient(&redis.Options{Addr: testenv.Redis(t).Addr()})
	t.Cleanup(func() { _ = rdb.Close() })
	endpoints, _, err := ingest.Endpoints(func(string) []string { return []string{officialSecret} })
	testenv.NoError(t, err)
	answer := func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) }
	server := ingest.New(ingest.Config{
		Endpoints: endpoints, Queue: tasks.NewClient(rdb), MaxBody: maxBody, EnqueueTimeout: time.Second,
		Live: answer, Ready: answer, Log: zap.NewNop(), Metrics: prometheus.NewRegistry(),
	})
	listeners := process.NewListeners(zap.NewNop())
	addr, err := listeners.AddPublic(t.Context(), "webhooks", "127.0.0.1:0", server)
	testenv.NoError(t, err)
	t.Cleanup(func() {
		// Refused connections stay open half a second longer; nothing else may run on.
		if err := listeners.Shutdown(context.Background(), 10*time.Second); err != nil {
			t.Error(err)
		}
	})
	return &outside{addr, asynq.NewInspectorFromRedisClient(rdb)}
}

// dial connects; the connection ends with the test.
func (o *outside) dial(t *testing.T) *net.TCPConn {
	t.Helper()
	conn, err := net.Dial("tcp", o.addr)
	testenv.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	testenv.NoError(t, conn.SetDeadline(time.Now().Add(20*time.Second)))
	return conn.(*net.TCPConn) //nolint:errcheck // a connection of "tcp" is one
}

// answer is one response.
type answer struct {
	status int
	header http.Header
	body   string
}

// send writes a request, closes its side, and returns every answer until the server
// closes the connection.
func (o *outside) send(t *testing.T, request string) []answer {
	t.Helper()
	conn := o.dial(t)
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		// The server may refuse before it has read everything.
		_, _ = io.WriteString(conn, request)
		_ = conn.CloseWrite()
	}()
	defer func() { _ = conn.Close(); <-sent }()
	var answers []answer
	for from := bufio.NewReader(conn); ; {
		res, err := http.ReadResponse(from, nil)
		if err != nil {
			if len(answers) == 0 {
				t.Fatalf("no answer: %v", err)
			}
			return answers
		}
		body, err := io.ReadAll(res.Body)
		testenv.NoError(t, err)
		answers = append(answers, answer{res.StatusCode, res.Header, string(body)})
	}
}

// queued returns the event of a body from the queue, or nil.
func (o *outside) queued(t *testing.T, body string) *tasks.Event {
	t.Helper()
	info, err := o.inspector.GetTaskInfo(tasks.QueueEvents, "event:record:"+tasks.EventID("klingai", "", []byte(body)))
	if err != nil {
		return nil
	}
	ev, err := tasks.DecodeEvent(info.Payload)
	testenv.NoError(t, err)
	return &ev
}

// head returns the start of a signed delivery, up to its length.
func head(body string) string {
	return "POST " + path + " HTTP/1.1\r\nHost: localhost\r\nX-Kling-Signature: sha256=" + sign(officialSecret, body) + "\r\n"
}

// ofLength returns an event whose body has n bytes.
func ofLength(n int) string {
	const start, end = `{"event":"video.created","data":{"job_id":"vid_1","prompt":"`, `"}}`
	return start + strings.Repeat("a", n-len(start)-len(end)) + end
}

// chunked returns a body in chunks of at most size bytes.
func chunked(body string, size int) string {
	var b strings.Builder
	for len(body) > 0 {
		n := min(size, len(body))
		fmt.Fprintf(&b, "%x\r\n%s\r\n", n, body[:n])
		body = body[n:]
	}
	return b.String() + "0\r\n\r\n"
}

func TestHostileSizesAreNeverTruncated(t *testing.T) {
	const small = 16 << 10 // up to here a body is always read
	for _, limit := range []int{1000, small, 100_000, 1 << 20} {
		o := newOutside(t, int64(limit))
		for _, n := range []int{limit - 1, limit, limit + 1, limit + 511, 2 * limit, small - 1, small, small + 1} {
			body, want := ofLength(n), http.StatusOK
			if n > limit {
				want = http.StatusRequestEntityTooLarge
			}
			for name, request := range map[string]string{
				"length declared": head(body) + "Content-Length: " + strconv.Itoa(n) + "\r\n\r\n" + body,
				"one chunk":       head(body) + "Transfer-Encoding: chunked\r\n\r\n" + chunked(body, n),
				"many chunks":     head(body) + "Transfer-Encoding: chunked\r\n\r\n" + chunked(body, 997),
			} {
				if got := o.send(t, request)[0]; got.status != want {
					t.Errorf("%d bytes with a limit of %d, %s: %d %s, want %d", n, limit, name, got.status, got.body, want)
				}
			}
			ev := o.queued(t, body)
			if (ev != nil) != (want == http.StatusOK) || ev != nil && string(ev.Body) != body {
				t.Errorf("%d bytes with a limit of %d: queued whole: %t, want %t", n, limit, ev != nil && string(ev.Body) == body, want == http.StatusOK)
			}
		}
	}
}

// Many clients write the whole body before they read.
func TestHostileLargeBodyGetsItsAnswer(t *testing.T) {
	const limit, size = 100_000, 4 << 20 // more than fits into the connection's buffers
	o := newOutside(t, limit)
	body := ofLength(size)
	for _, tt := range []struct {
		name, request string
		want          int
	}{
		{"length declared", head(body) + length(size) + body, http.StatusRequestEntityTooLarge},
		{"chunked", head(body) + "Transfer-Encoding: chunked\r\n\r\n" + chunked(body, 50_000), http.StatusRequestEntityTooLarge},
		{"encoded", head(body) + "Content-Encoding: gzip\r\n" + length(size) + body, http.StatusUnsupportedMediaType},
	} {
		t.Run(tt.name, func(t *testing.T) {
			conn := o.dial(t)
			if _, err := io.WriteString(conn, tt.request); err != nil {
				t.Fatalf("write: %v", err)
			}
			res, err := http.ReadResponse(bufio.NewReader(conn), nil)
			testenv.NoError(t, err)
			defer func() { _ = res.Body.Close() }()
			if res.StatusCode != tt.want {
				t.Errorf("answered %d, want %d", res.StatusCode, tt.want)
			}
		})
	}
}

// Headers lie about the body, contradict each other or are malformed.
func TestHostileFramingQueuesOnlySignedBodies(t *testing.T) {
	o := newOutside(t, 100_000)
	tests := []struct {
		name string
		// rest returns the request after the signature's header.
		rest func(body string) string
		want []int
	}{
		{"length too short", func(b string) string { return length(len(b)-5) + b }, []int{401, 400}},
		{"length too long", func(b string) string { return length(len(b)+5) + b }, []int{400}},
		{"length far too long", func(b string) string { return length(99_999) + b }, []int{400}},
		{"no length", func(b string) string { return "\r\n" + b }, []int{401, 400}},
		{"length negative", func(b string) string { return length(-1) + b }, []int{400}},
		{"length signed", func(b string) string { return "Content-Length: +" + strconv.Itoa(len(b)) + "\r\n\r\n" + b }, []int{400}},
		{"length hexadecimal", func(b string) string {
			return "Content-Length: 0x" + strconv.FormatInt(int64(len(b)), 16) + "\r\n\r\n" + b
		}, []int{400}},
		{"length beyond int64", func(b string) string { return "Content-Length: 9223372036854775808\r\n\r\n" + b }, []int{400}},
		{"largest length", func(b string) string { return "Content-Length: 9223372036854775807\r\n\r\n" + b }, []int{413}},
		{"two lengths that agree", func(b string) string { return "Content-Length: " + strconv.Itoa(len(b)) + "\r\n" + length(len(b)) + b }, []int{200}},
		{"two lengths that do not", func(b string) string { return "Content-Length: 1\r\n" + length(len(b)) + b }, []int{400}},
		{"list of lengths", func(b string) string { return "Content-Length: 1, " + strconv.Itoa(len(b)) + "\r\n\r\n" + b }, []int{400}},
		// RFC 9112, 6.3: the chunks count. The body is all chunks, although a proxy that
		// uses the length would see a second request.
		{"length and chunks", func(b string) string {
			return "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(b, 10)
		}, []int{200}},
		{"chunks twice", func(b string) string {
			return "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(b, 10)
		}, []int{501}},
		{"compressed chunks", func(b string) string { return "Transfer-Encoding: gzip, chunked\r\n\r\n" + chunked(b, 10) }, []int{501}},
		{"unknown transfer encoding", func(b string) string { return "Transfer-Encoding: x\r\n" + length(len(b)) + b }, []int{501}},
		{"no last chunk", func(b string) string {
			return "Transfer-Encoding: chunked\r\n\r\n" + strings.TrimSuffix(chunked(b, 10), "0\r\n\r\n")
		}, []int{400}},
		{"chunk without an end", func(b string) string { return "Transfer-Encoding: chunked\r\n\r\nff\r\n" + b }, []int{400}},
		{"chunk length is not a number", func(b string) string { return "Transfer-Encoding: chunked\r\n\r\n-1\r\n" + b }, []int{400}},
		{"largest chunk", func(b string) string { return "Transfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n" + b }, []int{400}},
		{"chunk with an endless extension", func(b string) string {
			return "Transfer-Encoding: chunked\r\n\r\n1;" + strings.Repeat("x", 9000) + "\r\n" + b
		}, []int{400}},
		{"signature in a trailer too", func(b string) string {
			return "Transfer-Encoding: chunked\r\nTrailer: X-Kling-Signature\r\n\r\n" + strings.TrimSuffix(chunked(b, 10), "\r\n") + "X-Kling-Signature: x\r\n\r\n"
		}, []int{200}},
		{"two signatures", func(b string) string {
			return "X-Kling-Signature: " + sign(officialSecret, b) + "\r\n" + length(len(b)) + b
		}, []int{401}},
		{"second signature in lower case", func(b string) string { return "x-kling-signature: \r\n" + length(len(b)) + b }, []int{401}},
		{"two hosts", func(b string) string { return "Host: other\r\n" + length(len(b)) + b }, []int{400}},
		{"no colon", func(b string) string { return "broken\r\n" + length(len(b)) + b }, []int{400}},
		{"space before the colon", func(b string) string { return "Content-Length : 0\r\n" + length(len(b)) + b }, []int{400}},
		{"NUL in a header", func(b string) string { return "X-A: \x00\r\n" + length(len(b)) + b }, []int{400}},
		{"one header of 40 KB", func(b string) string { return "X-A: " + strings.Repeat("a", 40_000) + "\r\n" + length(len(b)) + b }, []int{431}},
		{"5,000 headers", func(b string) string { return strings.Repeat("X-A: aaaa\r\n", 5000) + length(len(b)) + b }, []int{431}},
		{"101 headers", func(b string) string { return strings.Repeat("X-A: a\r\n", 99) + length(len(b)) + b }, []int{431}},
		{"100 headers", func(b string) string { return strings.Repeat("X-A: a\r\n", 98) + length(len(b)) + b }, []int{200}},
		{"unknown expectation", func(b string) string { return "Expect: 200-ok\r\n" + length(len(b)) + b }, []int{417}},
		{"upgrade", func(b string) string { return "Connection: Upgrade\r\nUpgrade: h2c\r\n" + length(len(b)) + b }, []int{200}},
		{"two requests at once", func(b string) string { return length(len(b)) + b + head(b) + length(len(b)) + b }, []int{200, 200}},
	}
	for i, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			body := fmt.Sprintf(`{"event":"video.created","data":{"job_id":"vid_%d"}}`, i)
			var got []int
			for _, a := range o.send(t, head(body)+tt.rest(body)) {
				got = append(got, a.status)
			}
			if fmt.Sprint(got) != fmt.Sprint(tt.want) {
				t.Errorf("answers %d, want %d", got, tt.want)
			}
			if queued := o.queued(t, body) != nil; queued != (tt.want[0] == http.StatusOK) {
				t.Errorf("queued: %t, but answered %d", queued, got)
			}
		})
	}
}

// length ends the headers with a Content-Length.
func length(n int) string { return "Content-Length: " + strconv.Itoa(n) + "\r\n\r\n" }

func TestHostileSecondHeaderIsRefusedUnlessItIsMoreSignatures(t *testing.T) {
	o := newOutside(t, 0)
	const body = `{"id":"1","status":"submitted"}`
	signed, err := simulate.Official.Sign(officialSecret, "a", time.Now(), []byte(body))
	testenv.NoError(t, err)
	for header, want := range map[string]int{"": 200, "webhook-id: b\r\n": 401, "WEBHOOK-ID: a\r\n": 401, "webhook-signature: v1,AAAA\r\n": 200, "Webhook-Timestamp: 1\r\n": 401} {
		var request strings.Builder
		request.WriteString("POST " + path + "/official HTTP/1.1\r\nHost: localhost\r\n" + header)
		testenv.NoError(t, signed.Write(&request))
		if got := o.send(t, request.String()+length(len(body))+body)[0]; got.status != want {
			t.Errorf("with the header %q more: %d, want %d", header, got.status, want)
		}
	}
}

func TestHostileEncodingIsNeverDecoded(t *testing.T) {
	o := newOutside(t, 100_000)
	var packed, bomb bytes.Buffer
	pack(t, &packed, strings.NewReader(created))
	pack(t, &bomb, io.LimitReader(zeros{}, 64<<20))
	tests := []struct {
		name, encoding, signed, body string
		want                         int
	}{
		{"compressed, then signed", "gzip", packed.String(), packed.String(), 415},
		{"signed, then compressed", "gzip", created, packed.String(), 415},
		{"declared as compressed, but is not", "gzip", created, created, 415},
		{"two encodings", "identity, gzip", packed.String(), packed.String(), 415},
		{"unknown encoding", "br", created, created, 415},
		{"bomb", "gzip", bomb.String(), bomb.String(), 415},
		{"forged and compressed", "gzip", "x", packed.String(), 415},
		{"compressed, but not declared", "", packed.String(), packed.String(), 400},
		{"identity", "Identity", created, created, 200},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := o.send(t, head(tt.signed)+"Content-Encoding: "+tt.encoding+"\r\n"+length(len(tt.body))+tt.body)[0]
			if got.status != tt.want || (tt.want == 415) != (strings.Contains(got.body, "without a Content-Encoding") && got.header.Get("Accept-Encoding") == "identity") {
				t.Errorf("answer %d %s, Accept-Encoding %q; want %d", got.status, got.body, got.header.Get("Accept-Encoding"), tt.want)
			}
			if queued := o.queued(t, tt.body) != nil; queued != (tt.want == 200) {
				t.Errorf("queued: %t, but answered %d", queued, got.status)
			}
		})
	}
}

// pack compresses from with gzip and writes the result to to.
func pack(t *testing.T, to io.Writer, from io.Reader) {
	t.Helper()
	zip := gzip.NewWriter(to)
	if _, err := io.Copy(zip, from); err != nil {
		t.Fatal(err)
	}
	testenv.NoError(t, zip.Close())
}

// zeros reads endless zero bytes.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// Senders that do not finish their bodies occupy all memory for bodies.
func TestHostileSlowBodiesGiveWay(t *testing.T) {
	for _, tt := range []struct {
		name       string
		sent, slow int
		aborted    int
	}{
		{"small", 1, 700, 30},
		{"large", 700 << 10, 30, 5},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := newOutside(t, 1<<20)
			slow := make([]*net.TCPConn, tt.slow)
			for i := range slow {
				slow[i] = o.dial(t)
				if _, err := io.WriteString(slow[i], head("forged")+length(1<<20)+strings.Repeat("a", tt.sent)); err != nil {
					t.Fatal(err)
				}
			}
			for _, size := range []int{len(created), 1 << 20} {
				body := ofLength(max(size, 100))
				if got := o.send(t, head(body)+length(len(body))+body)[0]; got.status != http.StatusOK {
					t.Errorf("a delivery of %d bytes is answered %d meanwhile, want 200", len(body), got.status)
				}
			}
			for i, conn := range slow[:tt.aborted] {
				res, err := http.ReadResponse(bufio.NewReader(conn), nil)
				testenv.NoError(t, err)
				_ = res.Body.Close()
				if res.StatusCode != http.StatusRequestTimeout {
					t.Errorf("slow sender %d is answered %d, want 408", i, res.StatusCode)
				}
			}
			last := slow[tt.slow-1]
			if _, err := io.WriteString(last, strings.Repeat("a", 1<<20-tt.sent)); err != nil {
				t.Fatal(err)
			}
			res, err := http.ReadResponse(bufio.NewReader(last), nil)
			testenv.NoError(t, err)
			_ = res.Body.Close()
			if res.StatusCode != http.StatusUnauthorized {
				t.Errorf("the last slow sender is answered %d after its body, want 401", res.StatusCode)
			}
		})
	}
}
