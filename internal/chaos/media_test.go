package chaos

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"hash/fnv"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// mediaServer serves the files that links lead to, and misbehaves.
type mediaServer struct {
	server *httptest.Server
	seed   uint64
	gate   *gate

	mu       sync.Mutex     // guards what follows
	asked    map[string]int // how often, by path
	notFound map[string]bool
	outage   bool
}

func newMediaServer(t testing.TB, seed uint64) *mediaServer {
	m := &mediaServer{seed: seed, gate: newGate(), asked: map[string]int{}, notFound: map[string]bool{}}
	m.server = httptest.NewServer(m)
	t.Cleanup(func() {
		m.gate.open()
		m.server.CloseClientConnections()
		m.server.Close()
	})
	return m
}

func (m *mediaServer) address() string { return m.server.Listener.Addr().String() }

// file is the content at a path: the first bytes of its kind, and noise.
func file(path string) []byte {
	head := []byte("\x00\x00\x00\x18ftypmp42\x00\x00\x00\x00mp42isom")
	if strings.HasSuffix(path, ".jpg") {
		head = []byte("\xff\xd8\xff\xe0\x00\x10JFIF\x00")
	}
	var key [32]byte
	sum := sha256.Sum256([]byte(path))
	copy(key[:], sum[:])
	noise := rand.NewChaCha8(key)
	size := 10_000 + int(binary.BigEndian.Uint32(sum[:])%300_000)
	content := make([]byte, len(head)+size)
	copy(content, head)
	_, _ = noise.Read(content[len(head):]) // never fails
	return content
}

// digest is a file's SHA-256.
func digest(path string) string {
	sum := sha256.Sum256(file(path))
	return hex.EncodeToString(sum[:])
}

// luck is a number below n that depends on the seed and the text.
func luck(seed uint64, text string, n int) int {
	h := fnv.New64a()
	_ = binary.Write(h, binary.BigEndian, seed)
	_, _ = h.Write([]byte(text))
	return int(h.Sum64() % uint64(n))
}

// setOutage makes the server answer nothing but 503, or ends that.
func (m *mediaServer) setOutage(on bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.outage = on
}

// wasMissing reports whether the server ever said that there is no such file.
func (m *mediaServer) wasMissing(path string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.notFound[path]
}

// next notes a request and says how the server is to meet it: an outage, the trouble
// of the path's first request, or none.
func (m *mediaServer) next(path string) (outage bool, trouble int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.asked[path]++
	trouble = 100
	if m.asked[path] == 1 && !m.outage {
		trouble = luck(m.seed, path, 100)
		m.notFound[path] = trouble < 2
	}
	return m.outage, trouble
}

// ServeHTTP serves a file. Of a hundred paths about forty give trouble the first
// time that they are asked for.
func (m *mediaServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	outage, trouble := m.next(r.URL.Path)
	content := file(r.URL.Path)
	w.Header().Set("ETag", strconv.Quote(digest(r.URL.Path)))
	switch {
	case outage:
		http.Error(w, "out of order", http.StatusServiceUnavailable)
		return
	case m.gate.shut():
		// A part of the file, and then nothing until the gate opens.
		w.Header().Set("Content-Length", strconv.Itoa(len(content)))
		_, _ = w.Write(content[:len(content)/2])
		_ = http.NewResponseController(w).Flush()
		m.gate.wait(r)
		panic(http.ErrAbortHandler)
	case trouble < 2:
		http.Error(w, "not there yet", http.StatusNotFound)
		return
	case trouble < 5:
		http.Error(w, "not for you yet", http.StatusForbidden)
		return
	case trouble < 10:
		w.Header().Set("Retry-After", "1")
		http.Error(w, "busy", http.StatusServiceUnavailable)
		return
	case trouble < 20: // a cut in the middle
		w.Header().Set("Content-Length", strconv.Itoa(len(content)))
		_, _ = w.Write(content[:len(content)/3])
		panic(http.ErrAbortHandler)
	case trouble < 25: // a stall, and then a cut
		w.Header().Set("Content-Length", strconv.Itoa(len(content)))
		_, _ = w.Write(content[:len(content)/2])
		_ = http.NewResponseController(w).Flush()
		pause(r, 3*time.Second)
		reset(w)
		return
	case trouble < 35: // slow
		w.Header().Set("Content-Length", strconv.Itoa(len(content)))
		trickle(w, r, content)
		return
	}
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content))
}

// trickle writes a body in eight parts.
func trickle(w http.ResponseWriter, r *http.Request, content []byte) {
	for part := range 8 {
		_, _ = w.Write(content[len(content)*part/8 : len(content)*(part+1)/8])
		_ = http.NewResponseController(w).Flush()
		pause(r, 200*time.Millisecond)
	}
}

// pause is how a server is slow; it ends with the request.
func pause(r *http.Request, d time.Duration) {
	select {
	case <-time.After(d):
	case <-r.Context().Done():
	}
}

// reset ends the connection so that the client sees it reset.
func reset(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = conn.Close()
}

// gate holds requests while it is closed, so that a scenario can kill whoever waits
// for the answer.
type gate struct {
	mu      sync.Mutex
	opened  chan struct{} // nil while the gate is open
	waiting int
}

func newGate() *gate { return &gate{} }

func (g *gate) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.opened == nil {
		g.opened = make(chan struct{})
	}
}

func (g *gate) open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.opened != nil {
		close(g.opened)
		g.opened = nil
	}
}

func (g *gate) shut() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.opened != nil
}

// held is how many requests wait.
func (g *gate) held() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.waiting
}

// wait holds a request until the gate opens or its client has gone.
func (g *gate) wait(r *http.Request) {
	g.mu.Lock()
	opened := g.opened
	g.waiting++
	g.mu.Unlock()
	defer func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.waiting--
	}()
	if opened == nil {
		return
	}
	select {
	case <-opened:
	case <-r.Context().Done():
	}
}
