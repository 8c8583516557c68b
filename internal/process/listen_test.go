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
	"github.com/klinghook/klinghook/internal/testenv"
)

// soon limits waits for things that should happen at once.
const soon = 20 * time.Second

// listen adds a listener on a free loopback port and returns its address.
func listen(t *testing.T, l *process.Listeners, name string, handler http.HandlerFunc) string {
	t.Helper()
	addr, err := l.Add(t.Context(), name, "127.0.0.1:0", handler)
	testenv.NoError(t, err)
	t.Cleanup(func() { _ = l.Close() })
	return addr
}

// get returns the answer to a GET over a new connection.
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

// waitClosed waits until nothing listens on addr.
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
		if err == nil { // otherwise it was closed while connecting
			_ = conn.Close()
		}
		select {
		case <-ctx.Done():
			t.Fatalf("%s still takes connections after %s", addr, soon)
		case <-tick.C:
		}
	}
}

// receive returns the next value from c.
func receive[T any](t *testing.T, c <-chan T, name string) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(soon):
		t.Fatalf("%s did not happen within %s", name, soon)
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
	// net/http enforces these limits.
	if server.ReadHeaderTimeout != 5*time.Second || server.ReadTimeout != 15*time.Second || server.WriteTimeout <= 0 || server.IdleTimeout <= 0 || server.MaxHeaderBytes <= 0 {
		t.Errorf("a slow client can keep a connection: header %s, read %s, write %s, idle %s, %d header bytes",
			server.ReadHeaderTimeout, server.ReadTimeout, server.WriteTimeout, server.IdleTimeout, server.MaxHeaderBytes)
	}
	entries := logs.FilterMessage("listening").All()
	if len(entries) != 1 || entries[0].ContextMap()["address"] != addr || entries[0].ContextMap()["for"] != "webhooks" {
		t.Errorf("logged %v, want one line with the address %s", entries, addr)
	}
}

func TestAddOnPortInUseKeepsOtherListeners(t *testing.T) {
	var lc net.ListenConfig
	taken, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	testenv.NoError(t, err)
	defer taken.Close()
	l := process.NewListeners(zap.NewNop())
	first := listen(t, l, "admin", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "first") })
	_, err = l.Add(t.Context(), "webhooks", taken.Addr().String(), http.NotFoundHandler())
	if !errors.Is(err, syscall.EADDRINUSE) || !strings.Contains(err.Error(), "webhooks") || !strings.Contains(err.Error(), taken.Addr().String()) {
		t.Errorf("got %v, want an error that names the listener and the address in use", err)
	}
	if got, err := get(t.Context(), first); got != "200 OK first" || err != nil {
		t.Errorf("the first listener answered %q, %v", got, err)
	}
	second := listen(t, l, "webhooks", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "second") })
	if got, err := get(t.Context(), second); got != "200 OK second" || err != nil {
		t.Errorf("a listener added afterwards answered %q, %v", got, err)
	}
}

func TestShutdownWaitsForRunningRequests(t *testing.T) {
	l := process.NewListeners(zap.NewNop())
	running, release := make(chan struct{}), make(chan struct{})
	busy := listen(t, l, "admin", func(w http.ResponseWriter, _ *http.Request) {
		close(running)
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
	receive(t, running, "the request's arrival")

	stopped := make(chan error, 1)
	go func() { stopped <- l.Shutdown(t.Context(), time.Hour) }()
	waitClosed(t, busy)
	waitClosed(t, idle)
	select {
	case err := <-stopped:
		t.Errorf("Shutdown returned %v before the request was answered", err)
	default:
	}
	close(release)
	if got := receive(t, answered, "the answer"); got != "200 OK done" {
		t.Errorf("the running request got %q", got)
	}
	if err := receive(t, stopped, "Shutdown's return"); err != nil {
		t.Error(err)
	}
}

func TestShutdownClosesConnectionsAfterGrace(t *testing.T) {
	l := process.NewListeners(zap.NewNop())
	running, ended := make(chan struct{}), make(chan struct{})
	addr := listen(t, l, "admin", func(_ http.ResponseWriter, r *http.Request) {
		close(running)
		<-r.Context().Done()
		close(ended)
	})
	answered := make(chan error, 1)
	go func() {
		_, err := get(t.Context(), addr)
		answered <- err
	}()
	receive(t, running, "the request's arrival")
	if err := l.Shutdown(t.Context(), time.Millisecond); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), addr) {
		t.Errorf("Shutdown = %v, want a timeout that names %s", err, addr)
	}
	if err := receive(t, answered, "the connection's end"); err == nil {
		t.Error("the request was answered")
	}
	receive(t, ended, "the end of the request's context")
}

func TestPanicOfHandlerIsLogged(t *testing.T) {
	log, logs := observed()
	l := process.NewListeners(log)
	addr := listen(t, l, "admin", func(http.ResponseWriter, *http.Request) { panic("oh dear") })
	if got, err := get(t.Context(), addr); err == nil {
		t.Errorf("got %q", got)
	}
	testenv.NoError(t, l.Shutdown(t.Context(), soon))
	entries := logs.FilterLevelExact(zapcore.ErrorLevel).All()
	if len(entries) != 1 || !strings.Contains(entries[0].Message, "oh dear") || entries[0].LoggerName != "admin" {
		t.Errorf("logged %v, want one error of admin", logs.All())
	}
}
