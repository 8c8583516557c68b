package terminal_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/klinghook/klinghook/cmd/internal/terminal"
	"github.com/klinghook/klinghook/internal/testenv/script"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func count(n int64) string { return strconv.FormatInt(n, 10) }

// TestLinesAndBars has lines for both outputs while two bars stand, and holds that
// each is whole, and that nothing is left of the bars.
func TestLinesAndBars(t *testing.T) {
	t.Setenv("TERM", "xterm")
	tty := script.OpenTerminal(t)
	screen := terminal.New(tty.TTY, tty.TTY)
	fmt.Fprintln(screen.Out(), "before")
	first, second := screen.Bar("first", count), screen.Bar("second", count)
	var want strings.Builder
	want.WriteString("before\n")
	for i := range 50 {
		first.Set(int64(i), 50)
		second.Set(int64(i), -1)
		out, to := screen.Out(), "out"
		if i%2 == 0 {
			out, to = screen.Err(), "err"
		}
		fmt.Fprintf(out, "line %d to %s\n", i, to)
		fmt.Fprintf(&want, "line %d to %s\n", i, to)
		if i == 30 {
			tty.Wait(t, `first  \[.*\]  \d+ of 50`)
			tty.Wait(t, `second .*\]  \d+\s`)
			first.End()
			first.End()
		}
	}
	second.End()
	fmt.Fprintln(screen.Out(), "after")
	want.WriteString("after\n")
	tty.Wait(t, "after\r\n")
	if got := tty.Shown(); got != want.String() {
		t.Errorf("the terminal shows\n%s\nwant\n%s", got, want.String())
	}
}

// TestNoTerminal holds that there is no bar and no escape sequence where the
// outputs are a file, or a terminal whose cursor does not move.
func TestNoTerminal(t *testing.T) {
	path := filepath.Join(t.TempDir(), "out")
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	work(terminal.New(file, file))
	got, err := os.ReadFile(path)
	if want := "a line\nanother\n"; err != nil || string(got) != want {
		t.Errorf("the file has %q, %v; want %q", got, err, want)
	}

	t.Setenv("TERM", "dumb")
	tty := script.OpenTerminal(t)
	screen := terminal.New(tty.TTY, tty.TTY)
	work(screen)
	tty.Wait(t, "another\r\n")
	if got, want := tty.Raw(), "a line\r\nanother\r\n"; got != want || screen.Coloured() {
		t.Errorf("the terminal has %q, want %q; coloured: %t", got, want, screen.Coloured())
	}
}

func work(screen *terminal.Screen) {
	bar := screen.Bar("bar", count)
	bar.Set(1, 2)
	fmt.Fprintln(screen.Out(), "a line")
	bar.End()
	fmt.Fprintln(screen.Err(), "another")
}

func TestColoured(t *testing.T) {
	tty := script.OpenTerminal(t)
	for _, tt := range []struct {
		name, term, noColor string
		want                bool
	}{
		{"a terminal", "xterm", "", true},
		{"not wanted", "xterm", "1", false},
		{"not known", "dumb", "", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Setenv("TERM", tt.term)
			t.Setenv("NO_COLOR", tt.noColor)
			if got := terminal.New(tty.TTY, tty.TTY).Coloured(); got != tt.want {
				t.Errorf("Coloured = %t, want %t", got, tt.want)
			}
		})
	}
}
