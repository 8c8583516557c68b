package process

import (
	"bufio"
	"container/list"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/klinghook/klinghook/internal/testenv"
)

// TestPublicListenerClosesTheLongestWaitingConnection uses a listener for 8 silent connections and 4 that send
// headers.
func TestPublicListenerClosesTheLongestWaitingConnection(t *testing.T) {
	const request = "GET / HTTP/1.1\r\nHost: x\r\n\r\n"
	silent := func(c *publicListener) *list.List { return c.silent }
	reading := func(c *publicListener) *list.List { return c.reading }
	tests := []struct {
		name, start, rest string
		answered          bool // whether start is
		in                func(*publicListener) *list.List
		count, closed     int
	}{
		{"silent", "", request, false, silent, 9, 1},
		{"idle after a request", request, request, true, silent, 9, 1},
		{"slow headers", request[:20], request[20:], false, reading, 7, 3},
		{"slow body", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n", "x", false, nil, 20, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
			testenv.NoError(t, err)
			public, arrived := newPublicListener(listener, 24), make(chan struct{}, 2*tt.count)
			server := &http.Server{ReadHeaderTimeout: time.Minute, ConnState: public.changed, Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				arrived <- struct{}{}
				_, _ = io.Copy(io.Discard, r.Body)
			})}
			stopped := make(chan error, 1)
			go func() { stopped <- server.Serve(public) }()
			defer func() { _ = server.Close(); <-stopped }()
			conns := make([]net.Conn, tt.count)
			for i := range conns {
				if conns[i], err = new(net.Dialer).DialContext(t.Context(), "tcp", listener.Addr().String()); err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { _ = conns[i].Close() })
				if _, err := io.WriteString(conns[i], tt.start); err != nil {
					t.Fatal(err)
				}
				if tt.answered {
					wantAnswer(t, conns[i])
				}
				if tt.in == nil {
					<-arrived
				} else {
					waitForLast(t, public, tt.in(public), conns[i].LocalAddr())
				}
			}
			for i, conn := range conns {
				if i < tt.closed {
					if _, err := conn.Read(make([]byte, 1)); err == nil {
						t.Errorf("connection %d of %d is open", i, tt.count)
					}
					continue
				}
				if _, err := io.WriteString(conn, tt.rest); err != nil {
					t.Fatal(err)
				}
				wantAnswer(t, conn)
			}
		})
	}
}

// Otherwise a burst of honest deliveries on more connections than that closes some.
func TestHeadersThatArriveAtOnceDoNotCountAsSlow(t *testing.T) {
	for name, tt := range map[string]struct {
		sent    string
		reading int
	}{
		"all headers":        {"POST / HTTP/1.1\r\nHost: x\r\n\r\n{}", 0},
		"part of the header": {"POST / HTTP/1.1\r\nHost: x\r\n", 1},
	} {
		t.Run(name, func(t *testing.T) {
			client, server := net.Pipe()
			c := newPublicListener(nil, 24)
			conn := &publicConn{Conn: server, listener: c}
			c.changed(conn, http.StateNew)
			go func() { _, _ = io.WriteString(client, tt.sent); _ = client.Close() }()
			_, err := conn.Read(make([]byte, 4096))
			testenv.NoError(t, err)
			if got := c.reading.Len(); got != tt.reading {
				t.Errorf("%d connections count as slow, want %d", got, tt.reading)
			}
		})
	}
}

// waitForLast waits until the connection from addr is the last one in a list.
func waitForLast(t *testing.T, c *publicListener, in *list.List, addr net.Addr) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for range 20_000 {
		c.mu.Lock()
		last := in.Back()
		there := last != nil && last.Value.(*publicConn).RemoteAddr().String() == addr.String() //nolint:errcheck // the lists have nothing else
		c.mu.Unlock()
		if there {
			return
		}
		<-tick.C
	}
	t.Fatal("the connection is not in the list")
}

func wantAnswer(t *testing.T, conn net.Conn) {
	t.Helper()
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	testenv.NoError(t, err)
	_ = res.Body.Close()
}
