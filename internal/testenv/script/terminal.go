package script

import (
	"bufio"
	"bytes"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/klinghook/klinghook/internal/testenv"
)

// Terminal is a pseudo-terminal of 200 columns that records everything written to it.
type Terminal struct {
	// TTY is the end that programs write to.
	TTY *os.File

	mu      sync.Mutex // guards written
	written bytes.Buffer
	came    chan struct{} // receives after a write
	ended   chan struct{} // closed when TTY has no writers
}

// OpenTerminal returns a terminal that is closed with the test. util-linux's script(1)
// opens it.
func OpenTerminal(t *testing.T) *Terminal {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), testenv.Script(t), "--quiet", "--flush", "--command", "stty rows 50 cols 200; tty; exec cat", os.DevNull)
	input, err := cmd.StdinPipe()
	testenv.NoError(t, err)
	output, err := cmd.StdoutPipe()
	testenv.NoError(t, err)
	testenv.NoError(t, cmd.Start())
	shown := bufio.NewReader(output)
	name, err := shown.ReadString('\n')
	testenv.NoError(t, err)
	tty, err := os.OpenFile(strings.TrimSpace(name), os.O_WRONLY|syscall.O_NOCTTY, 0)
	testenv.NoError(t, err)
	term := &Terminal{TTY: tty, came: make(chan struct{}, 1), ended: make(chan struct{})}
	go term.read(shown)
	t.Cleanup(func() {
		_, _ = tty.Close(), input.Close() // script ends with its input.
		<-term.ended
		_ = cmd.Wait()
	})
	return term
}

func (t *Terminal) read(shown io.Reader) {
	defer close(t.ended)
	buf := make([]byte, 4<<10)
	for {
		n, err := shown.Read(buf)
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
	timeout := time.After(waitTimeout)
	for !want.MatchString(t.Raw()) {
		select {
		case <-t.came:
		case <-timeout:
			tb.Fatalf("waited %s for %s on a terminal that shows\n%s", waitTimeout, pattern, t.Shown())
		}
	}
}

// Shown returns the visible lines and those above them, without cleared ones.
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

// Start starts a command with both outputs on the terminal, and these variables besides
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
