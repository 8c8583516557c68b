package main

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/klinghook/klinghook/internal/source"
)

func TestVerified(t *testing.T) {
	body := []byte(`{"event":"video.completed"}`)
	signature := source.SignSeed("secret", body).Get("X-Kling-Signature")
	for _, tt := range []struct {
		name, key, signature string
		want                 bool
	}{
		{"signed", "secret", signature, true},
		{"by another key", "other", signature, false},
		{"not signed", "secret", "", false},
		{"not hexadecimal", "secret", "sha256=zz", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := verified([]byte(tt.key), tt.signature, body); got != tt.want {
				t.Errorf("verified = %v, want %v", got, tt.want)
			}
		})
	}
}

func TestBareEchoAnswers(t *testing.T) {
	answer := httptest.NewRecorder()
	newEcho(discard).ServeHTTP(answer, httptest.NewRequest(http.MethodPost, path, strings.NewReader("anything")))
	if answer.Code != http.StatusOK || answer.Body.String() != `{"received": true}` {
		t.Errorf("answer = %d %s", answer.Code, answer.Body)
	}
}

// listen returns a listener on a free port.
func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// TestDelay sends more than a proxy that waits for each chunk in turn could pass on,
// and gets all of it back, in order, and no sooner than it should.
func TestDelay(t *testing.T) {
	const each = 40 * time.Millisecond
	far := listen(t)
	defer far.Close()
	go func() {
		conn, err := far.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		_, _ = io.Copy(conn, conn) // until the test is over
	}()
	free := listen(t)
	addr := free.Addr().String()
	free.Close()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- delay(ctx, addr, far.Addr().String(), each) }()

	conn := dial(t, addr)
	defer conn.Close()
	sent := bytes.Repeat([]byte("0123456789abcdef"), 1<<20) // 16 MiB: 256 chunks each way
	began := time.Now()
	go func() { _, _ = conn.Write(sent) }() // what is missing is seen below
	got := make([]byte, len(sent))
	if _, err := io.ReadFull(conn, got[:1]); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took < 2*each {
		t.Errorf("the first byte was back after %s, want %s at least", took, 2*each)
	}
	if _, err := io.ReadFull(conn, got[1:]); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took > 256*each {
		t.Errorf("16 MiB took %s: the delay limits what passes", took)
	}
	if !bytes.Equal(got, sent) {
		t.Error("what came back is not what was sent")
	}
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("delay ended with %v", err)
	}
}

// dial connects as soon as somebody listens.
func dial(t *testing.T, addr string) net.Conn {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; {
		conn, err := net.Dial("tcp", addr)
		if err == nil {
			return conn
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}
