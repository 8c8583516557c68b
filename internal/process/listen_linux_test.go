package process_test

import (
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"

	"go.uber.org/zap"

	"github.com/klinghook/klinghook/internal/process"
	"github.com/klinghook/klinghook/internal/testenv"
)

// TestWaitReturnsErrorOfFailedListener shuts the socket down to make the listener fail.
func TestWaitReturnsErrorOfFailedListener(t *testing.T) {
	l := process.NewListeners(zap.NewNop())
	addr := listen(t, l, "webhooks", http.NotFound)
	bound, err := net.ResolveTCPAddr("tcp", addr)
	testenv.NoError(t, err)
	testenv.NoError(t, syscall.Shutdown(listeningSocket(t, bound.Port), syscall.SHUT_RDWR))
	failed := make(chan error, 1)
	go func() { failed <- l.Wait(t.Context()) }()
	if err := receive(t, failed, "Wait's return"); err == nil || !strings.HasPrefix(err.Error(), "serve webhooks: ") {
		t.Errorf("Wait = %v, want the failure of webhooks", err)
	}
}

// listeningSocket returns this process's socket that listens on the port.
func listeningSocket(t *testing.T, port int) int {
	t.Helper()
	for fd := range 1024 {
		listening, err := syscall.GetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_ACCEPTCONN)
		if err != nil || listening == 0 {
			continue
		}
		if name, err := syscall.Getsockname(fd); err == nil {
			if v4, ok := name.(*syscall.SockaddrInet4); ok && v4.Port == port {
				return fd
			}
		}
	}
	t.Fatalf("no socket listens on port %d", port)
	return 0
}
