package script

import (
	"bytes"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/creack/pty"
)

// Terminal is a pseudo-terminal of 200 columns and everything written to it.
type Terminal struct {
	// TTY is the end that programs write to.
	TTY *os.File

	mu      sync.Mutex // guards written
	written bytes.Buffer
	came    chan struct{} // receives after a write
	ended   chan struct{} // closed when TTY has no writers
}

// OpenTerminal returns a terminal that is closed with the test. Without
// pseudo-terminals the test is skipped.
func OpenTerminal(t *testing.T) *Terminal {
	t.Helper()
	master, tty, err := pty.Open()
	if err != nil {
		t.Skipf("no pseudo-terminal: %v", err)
	}
	if err := pty.Setsize(tty, &pty.Winsize{Rows: 50, Cols: 200}); err != nil {
		t.Fatal(err)
	}
	term := &Terminal{TTY: tty, came: make(chan struct{}, 1), ended: make(chan struct{})}
	go term.read(master)
	t.Cleanup(func() {
		_ = tty.Close()
		<-term.ended
		_ = master.Close()
	})
	return term
}

func (t *Terminal) read(master *os.File) {
	defer close(t.ended)
	buf := make([]byte, 4<<10)
	for {
		n, err := master.Read(buf)
		t.mu.Lock()
		t.written.Write(buf[:n])
		t.mu.Unlock()
		select {
		case t.came <- struct{}{}:
		default:
		}
		if err != nil {
			return
		}
	}
}

// Raw returns everything written, including escape sequences.
func (t *Terminal) Raw() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.written.String()
}

// Wait waits until the output matches.
func (t *Terminal) Wait(tb testing.TB, pattern string) {
	tb.Helper()
	want := regexp.MustCompile(pattern)
	timeout := time.After(patience)
	for !want.MatchString(t.Raw()) {
		select {
		case <-t.came:
		case <-timeout:
			tb.Fatalf("waited %s for %s on a terminal that shows\n%s", patience, pattern, t.Shown())
		}
	}
}

// Shown returns what a person sees and could scroll back to: the lines, without those
// that were cleared.
func (t *Terminal) Shown() string {
	raw := regexp.MustCompile(`\x1b\[[0-9;]*m`).ReplaceAllString(t.Raw(), "")
	lines := []string{""}
	for raw != "" {
		if up := regexp.MustCompile(`^\x1b\[(\d+)A\x1b\[J`).FindStringSubmatch(raw); up != nil {
			n, _ := strconv.Atoi(up[1])
			lines = append(lines[:max(len(lines)-1-n, 0)], "")
			raw = raw[len(up[0]):]
			continue
		}
		if rest, ok := strings.CutPrefix(raw, "\r\n"); ok {
			lines, raw = append(lines, ""), rest
			continue
		}
		lines[len(lines)-1] += raw[:1]
		raw = raw[1:]
	}
	return strings.Join(lines, "\n")
}

// Start runs a command with both outputs on the terminal, and these variables besides
// the test's own. The caller waits for it; it is killed when the test ends.
func (t *Terminal) Start(tb testing.TB, variables []string, name string, args ...string) *exec.Cmd {
	tb.Helper()
	cmd := exec.CommandContext(tb.Context(), name, args...)
	cmd.Env = append(os.Environ(), "TERM=xterm-256color", "NO_COLOR=")
	cmd.Env = append(cmd.Env, variables...)
	cmd.Stdout, cmd.Stderr = t.TTY, t.TTY
	if err := cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	return cmd
}
