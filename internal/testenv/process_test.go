package testenv

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestServersEndWithKilledTest kills a test process that started servers.
func TestServersEndWithKilledTest(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux ends servers with a test process that is killed")
	}
	installed(t, "redis", "redis-server")
	postgresBin(t)
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestServersOfKilledTest$", "-test.v")
	// The killed process's files are removed with this test's.
	cmd.Env = append(os.Environ(), "TESTENV_ORPHANS=1", "TMPDIR="+publicTempDir(t))
	out, err := cmd.StdoutPipe()
	NoError(t, err)
	NoError(t, cmd.Start())
	var addrs []string
	for lines := bufio.NewScanner(out); len(addrs) < 2 && lines.Scan(); {
		if addr, ok := strings.CutPrefix(lines.Text(), "server "); ok {
			addrs = append(addrs, addr)
		}
	}
	NoError(t, cmd.Process.Kill())
	_ = cmd.Wait() // It was killed.
	if len(addrs) != 2 {
		t.Fatalf("the test process named %d servers, want 2", len(addrs))
	}
	for _, addr := range addrs {
		if err := waitRefused(t.Context(), addr); err != nil {
			t.Error(err)
		}
	}
}

// TestServersOfKilledTest is the killed process.
func TestServersOfKilledTest(t *testing.T) {
	if os.Getenv("TESTENV_ORPHANS") == "" {
		return
	}
	fmt.Printf("server %s\n", Redis(t).Addr())
	fmt.Printf("server %s\n", loopback(PostgresServer(t).server.port))
	<-t.Context().Done()
}

// publicTempDir returns a directory that every user may enter. t.TempDir may refuse them.
func publicTempDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, d := range []string{filepath.Dir(dir), dir} {
		NoError(t, os.Chmod(d, 0o755))
	}
	return dir
}

// waitRefused waits until nobody listens on addr.
func waitRefused(ctx context.Context, addr string) error {
	ctx, cancel := context.WithTimeout(ctx, stopTimeout)
	defer cancel()
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for {
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
		if errors.Is(err, syscall.ECONNREFUSED) {
			return nil
		}
		if err == nil {
			err = conn.Close()
		}
		select {
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("a server still listens on %s after its test process was killed", addr), err)
		case <-tick.C:
		}
	}
}

func TestOnFreePort(t *testing.T) {
	busy := fmt.Errorf("bind: %w", errBusy)
	broken := errors.New("bad setting")
	tests := []struct {
		name      string
		results   []error
		want      error
		wantTries int
	}{
		{"free at once", []error{nil}, nil, 1},
		{"taken twice", []error{busy, busy, nil}, nil, 3},
		{"another error", []error{broken, nil}, broken, 1},
		{"always taken", []error{busy, busy, busy, busy, busy, nil}, errBusy, startPorts},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tries := 0
			err := onFreePort(t.Context(), func(int) error {
				tries++
				return tt.results[tries-1]
			})
			if !errors.Is(err, tt.want) || tries != tt.wantTries {
				t.Errorf("error %v after %d tries, want %v after %d", err, tries, tt.want, tt.wantTries)
			}
		})
	}
}
