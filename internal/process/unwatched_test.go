package process_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/klinghook/klinghook/internal/process"
)

// TestUnwatchedDeclinesOnce holds that a read of one byte is declined, and the next one
// is not: no byte is lost, and nobody who insists is turned away for ever.
func TestUnwatchedDeclinesOnce(t *testing.T) {
	var lc net.ListenConfig
	listener, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	peer, err := new(net.Dialer).DialContext(t.Context(), "tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer peer.Close()
	conn, err := process.Unwatched(listener).Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(peer, "abcd"); err != nil {
		t.Fatal(err)
	}
	for i, step := range []struct {
		size int
		want string
	}{{1, ""}, {1, "a"}, {1, ""}, {2, "bc"}, {1, ""}, {1, "d"}} {
		p := make([]byte, step.size)
		n, err := conn.Read(p)
		if got := string(p[:n]); got != step.want || err != nil {
			t.Errorf("read %d of %d bytes got %q, %v; want %q", i, step.size, got, err, step.want)
		}
	}
	if _, ok := conn.(interface{ CloseWrite() error }); !ok {
		t.Error("net/http could not close the connection without resetting it")
	}
}

// TestUnwatchedServes holds that an unwatched listener serves as any other: bodies of one
// byte, and those that end a byte behind a buffer of net/http's; one request behind the
// other on a connection, whether the next one waits for the answer or not, and sent in
// pieces of any size.
func TestUnwatchedServes(t *testing.T) {
	l := process.NewListeners(zap.NewNop())
	t.Cleanup(func() { _ = l.Close() })
	addr, err := l.Add(t.Context(), "webhooks", "127.0.0.1:0", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%d %x %v", len(body), body[max(0, len(body)-1):], err)
	}), process.Unwatched)
	if err != nil {
		t.Fatal(err)
	}
	var requests bytes.Buffer
	var want []string
	for _, size := range []int{0, 1, 2, 4095, 4096, 4097, 8193, 1, 1, 65537, 1} {
		body := strings.Repeat("x", max(0, size-1)) + strings.Repeat("y", min(1, size))
		fmt.Fprintf(&requests, "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%s", size, body)
		want = append(want, fmt.Sprintf("%d %x <nil>", size, body[max(0, size-1):]))
	}
	for _, piece := range []int{1 << 20, 4096, 1000, 7, 1} {
		t.Run(fmt.Sprintf("pieces of %d", piece), func(t *testing.T) {
			conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", addr)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if err := conn.SetDeadline(time.Now().Add(soon)); err != nil {
				t.Fatal(err)
			}
			sent := make(chan error, 1)
			go func() {
				for rest := requests.Bytes(); len(rest) > 0; {
					n, err := conn.Write(rest[:min(piece, len(rest))])
					if err != nil {
						sent <- err
						return
					}
					rest = rest[n:]
				}
				sent <- nil
			}()
			from := bufio.NewReader(conn)
			for i, want := range want {
				res, err := http.ReadResponse(from, nil)
				if err != nil {
					t.Fatalf("answer %d: %v", i, err)
				}
				got, err := io.ReadAll(res.Body)
				_ = res.Body.Close()
				if string(got) != want || err != nil {
					t.Errorf("answer %d is %q, %v; want %q", i, got, err, want)
				}
			}
			if err := receive(t, sent, "the end of the requests"); err != nil {
				t.Error(err)
			}
		})
	}
}
