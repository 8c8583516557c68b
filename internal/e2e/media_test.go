package e2e

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"hash/fnv"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// mediaServer serves the files, and misbehaves.
type mediaServer struct {
	unreliableServer
	// instead, if set, serves everything.
	instead http.HandlerFunc
}

// unreliableServer is a server that misbehaves.
type unreliableServer struct {
	server *httptest.Server
	gate   gate
	// trouble chooses the trouble of a key's first request, from 0 to 99.
	trouble func(key string) int

	mu     sync.Mutex     // guards what follows
	asked  map[string]int // requests by key
	outage bool
}

// listen starts the server, without trouble.
func (s *unreliableServer) listen(t testing.TB, handler http.Handler) {
	s.trouble, s.asked, s.server = noTrouble, map[string]int{}, httptest.NewServer(handler)
	t.Cleanup(func() {
		s.gate.open()
		s.server.CloseClientConnections()
		s.server.Close()
	})
}

// setOutage starts or ends an outage, during which every request fails.
func (s *unreliableServer) setOutage(on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.outage = on
}

// next records a request and chooses its trouble.
func (s *unreliableServer) next(key string) (outage bool, trouble int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked[key]++
	if s.asked[key] == 1 && !s.outage {
		return false, s.trouble(key)
	}
	return s.outage, noTrouble(key)
}

// newMediaServer returns a server without trouble.
func newMediaServer(t testing.TB) *mediaServer {
	m := &mediaServer{}
	m.listen(t, m)
	return m
}

func (m *mediaServer) address() string { return m.server.Listener.Addr().String() }

// link returns a signed link to a file.
func (m *mediaServer) link(name string) string { return m.server.URL + "/" + name + "?Signature=hush" }

// noTrouble is for servers that behave.
func noTrouble(string) int { return 99 }

// random chooses trouble by the seed.
func random(seed uint64) func(string) int {
	return func(text string) int { return luck(seed, text, 100) }
}

// interrupted makes the first request for a video end in the middle, and refuses that
// for a thumbnail.
func interrupted(path string) int {
	if strings.HasSuffix(path, ".jpg") {
		return 6
	}
	return 15
}

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
func digest(path string) string { return sha(file(path)) }

// luck returns a number below n for a seed and a text.
func luck(seed uint64, text string, n int) int {
	h := fnv.New64a()
	_ = binary.Write(h, binary.BigEndian, seed)
	_, _ = h.Write([]byte(text))
	return int(h.Sum64() % uint64(n))
}

// ServeHTTP serves a file. At random, the first request for about a third of the paths
// meets trouble.
func (m *mediaServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if m.instead != nil {
		m.instead(w, r)
		return
	}
	outage, trouble := m.next(r.URL.Path)
	content := file(r.URL.Path)
	w.Header().Set("ETag", strconv.Quote(digest(r.URL.Path)))
	switch {
	case outage:
		http.Error(w, "out of order", http.StatusServiceUnavailable)
		return
	case m.gate.shut():
		// Half of the file, and then nothing until the gate opens.
		writePart(w, content, 2)
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
	case trouble < 20: // ends early
		writePart(w, content, 3)
		panic(http.ErrAbortHandler)
	case trouble < 25: // stalls, and then ends early
		writePart(w, content, 2)
		pause(r, 3*time.Second)
		reset(w)
		return
	case trouble < 35: // slow
		w.Header().Set("Content-Length", strconv.Itoa(len(content)))
		for part := range 8 {
			_, _ = w.Write(content[len(content)*part/8 : len(content)*(part+1)/8])
			_ = http.NewResponseController(w).Flush()
			pause(r, 200*time.Millisecond)
		}
		return
	}
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content))
}

// writePart announces the whole content and writes an nth of it.
func writePart(w http.ResponseWriter, content []byte, n int) {
	w.Header().Set("Content-Length", strconv.Itoa(len(content)))
	_, _ = w.Write(content[:len(content)/n])
	_ = http.NewResponseController(w).Flush()
}

// pause waits; it ends with the request.
func pause(r *http.Request, d time.Duration) {
	select {
	case <-time.After(d):
	case <-r.Context().Done():
	}
}

// reset resets the connection.
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

// gate delays requests while it is closed, so that a scenario can kill the process
// that waits for the answer.
type gate struct {
	opened  atomic.Pointer[chan struct{}] // nil while the gate is open
	waiting atomic.Int32
}

func (g *gate) close() {
	opened := make(chan struct{})
	g.opened.Store(&opened)
}

func (g *gate) open() {
	if opened := g.opened.Swap(nil); opened != nil {
		close(*opened)
	}
}

func (g *gate) shut() bool { return g.opened.Load() != nil }

// delayed returns how many requests wait.
func (g *gate) delayed() int { return int(g.waiting.Load()) }

// wait delays a request until the gate opens or the request ends.
func (g *gate) wait(r *http.Request) {
	opened := g.opened.Load()
	if opened == nil {
		return
	}
	g.waiting.Add(1)
	defer g.waiting.Add(-1)
	select {
	case <-*opened:
	case <-r.Context().Done():
	}
}
