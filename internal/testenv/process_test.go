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
	// The files that a killed process leaves are removed with ours.
	cmd.Env = append(os.Environ(), "TESTENV_ORPHANS=1", "TMPDIR="+publicTempDir(t))
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var addrs []string
	for lines := bufio.NewScanner(out); len(addrs) < 2 && lines.Scan(); {
		if addr, ok := strings.CutPrefix(lines.Text(), "server "); ok {
			addrs = append(addrs, addr)
		}
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
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

// TestServersOfKilledTest is the process that is killed.
func TestServersOfKilledTest(t *testing.T) {
	if os.Getenv("TESTENV_ORPHANS") == "" {
		return
	}
	fmt.Printf("server %s\n", Redis(t).Addr())
	fmt.Printf("server %s\n", loopback(PostgresServer(t).server.port))
	<-t.Context().Done()
}

// publicTempDir returns a directory that every user may pass through, which
// t.TempDir does not promise.
func publicTempDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, d := range []string{filepath.Dir(dir), dir} {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
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
		{"other trouble", []error{broken, nil}, broken, 1},
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

func TestServerThatEndsReportsItsOutput(t *testing.T) {
	p, err := StartProgram(Program{
		Path: "/bin/sh", Args: []string{"-c", "echo no such setting; exit 1"}, Dir: t.TempDir(), Log: filepath.Join(t.TempDir(), "log"),
	})
	if err != nil {
		t.Fatal(err)
	}
	never := func(context.Context) error { return errors.New("refused") }
	if err := p.waitReady(t.Context(), never); err == nil || !strings.Contains(err.Error(), "no such setting") {
		t.Errorf("error %v does not include the server's output", err)
	}
}

func TestMissingProgramIsAnError(t *testing.T) {
	_, err := StartProgram(Program{Path: filepath.Join(t.TempDir(), "none"), Log: filepath.Join(t.TempDir(), "log")})
	if !errors.Is(err, os.ErrNotExist) {
		t.Errorf("error %v, want %v", err, os.ErrNotExist)
	}
}

func TestProgramsShareLogAndNotEnvironment(t *testing.T) {
	log := filepath.Join(t.TempDir(), "log")
	run := func(script string) *Process {
		p, err := StartProgram(Program{
			Path: "/bin/sh", Args: []string{"-c", script}, Env: []string{"WORD=hello"}, Dir: t.TempDir(), Log: log,
		})
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	first := run(`echo "$WORD $HOME"`)
	<-first.Exited()
	if first.Err() != nil {
		t.Error(first.Err())
	}
	second := run(`echo again; exec sleep 60`)
	if err := second.End(syscall.SIGKILL); err != nil {
		t.Error(err)
	}
	if second.Err() == nil {
		t.Error("a killed program ended without an error")
	}
	if err := second.Signal(syscall.SIGKILL); err != nil {
		t.Errorf("signal to an ended program: %v", err)
	}
	if out, err := os.ReadFile(log); err != nil || !strings.HasPrefix(string(out), "hello \n") {
		t.Errorf("log is %q, %v", out, err)
	}
}
