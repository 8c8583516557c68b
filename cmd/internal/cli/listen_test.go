package cli

import (
	"context"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/klinghook/klinghook/internal/process"
)

func TestOnlyADefaultAddressFallsBackToAFreePort(t *testing.T) {
	var lc net.ListenConfig
	taken, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	core, logs := observer.New(zapcore.WarnLevel)
	e := Service{Name: "admin", Setting: "KLINGHOOK_ADMIN_ADDR", Addr: taken.Addr().String(), Handler: http.NotFoundHandler()}

	listeners := process.NewListeners(zap.NewNop())
	if _, err := Listen(t.Context(), listeners, e); err == nil || !strings.Contains(err.Error(), "KLINGHOOK_ADMIN_ADDR (--admin-addr)") {
		t.Errorf("Listen = %v, want an error that names the setting", err)
	}
	e.FallbackLog = zap.New(core)
	addr, err := Listen(t.Context(), listeners, e)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := listeners.Shutdown(context.WithoutCancel(t.Context()), time.Second); err != nil {
			t.Error(err)
		}
	}()
	if host, _, err := net.SplitHostPort(addr); err != nil || host != "127.0.0.1" || addr == e.Addr {
		t.Errorf("listening on %q, %v; want another port of the same host", addr, err)
	}
	if logs.FilterField(zap.String("address", addr)).Len() != 1 {
		t.Errorf("the log lacks the address: %v", logs.All())
	}
}
