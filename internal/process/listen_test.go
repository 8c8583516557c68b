package process_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/klinghook/klinghook/internal/process"
)

// soon bounds waits for what takes no time by itself.
const soon = 20 * time.Second

// listen adds a listener on a free loopback port and returns its address.
func listen(t *testing.T, l *process.Listeners, name string, handler http.HandlerFunc) string {
	t.Helper()
	addr, err := l.Add(t.Context(), name, "127.0.0.1:0", handler)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return addr
}

// get returns what a GET over a connection of its own answers.
func get(ctx context.Context, addr string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, "GET", "http://"+addr+"/", http.NoBody)
	if err != nil {
		return "", err
	}
	transport := &http.Transport{DisableKeepAlives: true}
	defer transport.CloseIdleConnections()
	res, err := transport.RoundTrip(req)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	return res.Status + " " + string(body), err
}

// waitClosed returns when nobody listens on addr any more.
func waitClosed(t *testing.T, addr string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), soon)
	defer cancel()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
		if errors.Is(err, syscall.ECONNREFUSED) {
			return
		}
		if err == nil { // Else it was closed as we came.
			_ = conn.Close()
		}
		select {
		case <-ctx.Done():
			t.Fatalf("%s still takes connections after %s", addr, soon)
		case <-tick.C:
		}
	}
}

// receive returns what comes out of c.
func receive[T any](t *testing.T, c <-chan T, what string) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(soon):
		t.Fatalf("%s did not happen within %s", what, soon)
		panic("unreachable")
	}
}

func TestListenersServe(t *testing.T) {
	log, logs := observed()
	l := process.NewListeners(log)
	var server *http.Server
	addr := listen(t, l, "webhooks", func(w http.ResponseWriter, r *http.Request) {
		server, _ = r.Context().Value(http.ServerContextKey).(*http.Server)
		_, _ = io.WriteString(w, "hello")
	})
	if got, err := get(t.Context(), addr); got != "200 OK hello" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
	// net/http keeps to these; they are what Add promises.
	if server.ReadHeaderTimeout != 5*time.Second || server.ReadTimeout != 15*time.Second || server.WriteTimeout <= 0 || server.IdleTimeout <= 0 || server.MaxHeaderBytes <= 0 {
		t.Errorf("a slow client can hold a connection: header %s, read %s, write %s, idle %s, %d header bytes",
			server.ReadHeaderTimeout, server.ReadTimeout, server.WriteTimeout, server.IdleTimeout, server.MaxHeaderBytes)
	}
	entries := logs.FilterMessage("listening").All()
	if len(entries) != 1 || entries[0].ContextMap()["address"] != addr || entries[0].ContextMap()["for"] != "webhooks" {
		t.Errorf("logged %v, want one line with the address %s", entries, addr)
	}
}

func TestListenersPortTaken(t *testing.T) {
	var lc net.ListenConfig
	taken, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	l := process.NewListeners(zap.NewNop())
	first := listen(t, l, "admin", http.NotFound)
	_, err = l.Add(t.Context(), "webhooks", taken.Addr().String(), http.NotFoundHandler())
	if !errors.Is(err, syscall.EADDRINUSE) || !strings.Contains(err.Error(), "webhooks") || !strings.Contains(err.Error(), taken.Addr().String()) {
		t.Errorf("got %v, want an error that names the listener and the address in use", err)
	}
	waitClosed(t, first)
}

// TestShutdownWaits checks that all listeners close at once, and that a request in
// hand is answered before Shutdown returns.
func TestShutdownWaits(t *testing.T) {
	l := process.NewListeners(zap.NewNop())
	inHand, release := make(chan struct{}), make(chan struct{})
	busy := listen(t, l, "admin", func(w http.ResponseWriter, _ *http.Request) {
		close(inHand)
		<-release
		_, _ = io.WriteString(w, "done")
	})
	idle := listen(t, l, "webhooks", http.NotFound)
	answered := make(chan string, 1)
	go func() {
		got, err := get(t.Context(), busy)
		if err != nil {
			got = err.Error()
		}
		answered <- got
	}()
	receive(t, inHand, "the request's arrival")

	stopped := make(chan error, 1)
	go func() { stopped <- l.Shutdown(t.Context(), time.Hour) }()
	waitClosed(t, busy)
	waitClosed(t, idle)
	select {
	case err := <-stopped:
		t.Errorf("Shutdown returned %v with a request in hand", err)
	default:
	}
	close(release)
	if got := receive(t, answered, "the answer"); got != "200 OK done" {
		t.Errorf("the request in hand got %q", got)
	}
	if err := receive(t, stopped, "Shutdown's return"); err != nil {
		t.Error(err)
	}
}

func TestShutdownCuts(t *testing.T) {
	l := process.NewListeners(zap.NewNop())
	inHand, ended := make(chan struct{}), make(chan struct{})
	addr := listen(t, l, "admin", func(_ http.ResponseWriter, r *http.Request) {
		close(inHand)
		<-r.Context().Done()
		close(ended)
	})
	answered := make(chan error, 1)
	go func() {
		_, err := get(t.Context(), addr)
		answered <- err
	}()
	receive(t, inHand, "the request's arrival")
	if err := l.Shutdown(t.Context(), time.Millisecond); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), addr) {
		t.Errorf("Shutdown = %v, want that the time for %s was up", err, addr)
	}
	if err := receive(t, answered, "the connection's end"); err == nil {
		t.Error("the request was answered")
	}
	receive(t, ended, "the end of the request's context")
}

func TestShutdownWithoutGrace(t *testing.T) {
	l := process.NewListeners(zap.NewNop())
	addr := listen(t, l, "admin", http.NotFound)
	if err := l.Shutdown(t.Context(), 0); err != nil {
		t.Errorf("with nothing in hand: %v", err)
	}
	waitClosed(t, addr)
	if err := process.NewListeners(zap.NewNop()).Shutdown(t.Context(), 0); err != nil {
		t.Errorf("without listeners: %v", err)
	}
}

func TestWaitEndsWithContext(t *testing.T) {
	l := process.NewListeners(zap.NewNop())
	listen(t, l, "admin", http.NotFound)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := l.Wait(ctx); err != nil {
		t.Error(err)
	}
}

// TestPanicIsLogged checks that a handler's panic does not pass in silence.
func TestPanicIsLogged(t *testing.T) {
	log, logs := observed()
	l := process.NewListeners(log)
	addr := listen(t, l, "admin", func(http.ResponseWriter, *http.Request) { panic("oh dear") })
	if got, err := get(t.Context(), addr); err == nil {
		t.Errorf("got %q", got)
	}
	if err := l.Shutdown(t.Context(), soon); err != nil {
		t.Fatal(err)
	}
	entries := logs.FilterLevelExact(zapcore.ErrorLevel).All()
	if len(entries) != 1 || !strings.Contains(entries[0].Message, "oh dear") || entries[0].LoggerName != "admin" {
		t.Errorf("logged %v, want one error of admin", logs.All())
	}
}
