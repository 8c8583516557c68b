// Package media serves made-up videos of any size, with ranges, after a delay where
// one is set: a download's other side that costs little and waits for no disk.
package media

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"sync/atomic"
	"time"
)

// blockSize is how much of a file is made; it is repeated.
const blockSize = 1 << 20

// Server serves files.
type Server struct {
	// Addr is its host:port.
	Addr  string
	block []byte
	delay time.Duration
	// requests counts those for files.
	requests atomic.Int64
	server   *http.Server
}

// Start serves on a free loopback port until Close. Each request waits for delay
// first.
func Start(ctx context.Context, delay time.Duration) (*Server, error) {
	var lc net.ListenConfig
	listener, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &Server{Addr: listener.Addr().String(), block: makeBlock(), delay: delay}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{size}/{name}", s.serve)
	s.server = &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = s.server.Serve(listener) }() // it ends with Close
	return s, nil
}

// Close ends it.
func (s *Server) Close() error { return s.server.Close() }

// Requests is how many files were asked for.
func (s *Server) Requests() int64 { return s.requests.Load() }

// URL returns the address of the i-th file of a size in bytes.
func (s *Server) URL(size int64, i int) string {
	return fmt.Sprintf("http://%s/%d/%d.mp4", s.Addr, size, i)
}

// SHA256 returns the hash of every file of a size, in hexadecimal.
func (s *Server) SHA256(size int64) (string, error) {
	h := sha256.New()
	if _, err := io.Copy(h, &file{block: s.block, size: size}); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	var size int64
	if _, err := fmt.Sscanf(r.PathValue("size"), "%d", &size); err != nil || size < 1 {
		http.NotFound(w, r)
		return
	}
	s.requests.Add(1)
	if s.delay > 0 {
		select {
		case <-time.After(s.delay):
		case <-r.Context().Done():
			return
		}
	}
	w.Header().Set("Content-Type", "video/mp4")
	w.Header().Set("ETag", fmt.Sprintf(`"%d"`, size))
	http.ServeContent(w, r, "", time.Time{}, &file{block: s.block, size: size})
}

// makeBlock returns what files are made of: the beginning of an MP4, and noise.
func makeBlock() []byte {
	block := make([]byte, blockSize)
	var seed [32]byte
	_, _ = rand.NewChaCha8(seed).Read(block) // it never fails
	copy(block, "\x00\x00\x00\x20ftypisom\x00\x00\x02\x00isomiso2avc1mp41")
	return block
}

// file is a block, repeated.
type file struct {
	block    []byte
	size, at int64
}

// Read implements [io.Reader].
func (f *file) Read(p []byte) (int, error) {
	if f.at >= f.size {
		return 0, io.EOF
	}
	from := f.at % int64(len(f.block))
	n := copy(p[:min(int64(len(p)), f.size-f.at)], f.block[from:])
	f.at += int64(n)
	return n, nil
}

// Seek implements [io.Seeker].
func (f *file) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += f.at
	case io.SeekEnd:
		offset += f.size
	}
	if offset < 0 {
		return 0, errors.New("seek before the file's beginning")
	}
	f.at = offset
	return offset, nil
}
