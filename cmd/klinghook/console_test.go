package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/klinghook/klinghook/internal/testenv"
	"github.com/klinghook/klinghook/internal/testenv/script"
)

func count(n int64) string { return strconv.FormatInt(n, 10) }

func TestBarsDoNotTearLinesAndLeaveNothing(t *testing.T) {
	t.Setenv("TERM", "xterm")
	tty := script.OpenTerminal(t)
	screen := newConsole(tty.TTY, tty.TTY)
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

func TestNoBarsInFilesAndOnDumbTerminals(t *testing.T) {
	path := filepath.Join(t.TempDir(), "out")
	file, err := os.Create(path)
	testenv.NoError(t, err)
	defer file.Close()
	printAround(newConsole(file, file))
	got, err := os.ReadFile(path)
	if want := "a line\nanother\n"; err != nil || string(got) != want {
		t.Errorf("the file has %q, %v; want %q", got, err, want)
	}

	t.Setenv("TERM", "dumb")
	tty := script.OpenTerminal(t)
	screen := newConsole(tty.TTY, tty.TTY)
	printAround(screen)
	tty.Wait(t, "another\r\n")
	if got, want := tty.Raw(), "a line\r\nanother\r\n"; got != want || screen.Coloured() {
		t.Errorf("the terminal has %q, want %q; coloured: %t", got, want, screen.Coloured())
	}
}

func printAround(screen *console) {
	bar := screen.Bar("bar", count)
	bar.Set(1, 2)
	fmt.Fprintln(screen.Out(), "a line")
	bar.End()
	fmt.Fprintln(screen.Err(), "another")
}

func TestColouredRespectsTheEnvironment(t *testing.T) {
	tty := script.OpenTerminal(t)
	for _, tt := range []struct {
		name, term, noColor string
		want                bool
	}{
		{"a terminal", "xterm", "", true},
		{"NO_COLOR", "xterm", "1", false},
		{"a dumb terminal", "dumb", "", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Setenv("TERM", tt.term)
			t.Setenv("NO_COLOR", tt.noColor)
			if got := newConsole(tty.TTY, tty.TTY).Coloured(); got != tt.want {
				t.Errorf("Coloured = %t, want %t", got, tt.want)
			}
		})
	}
}
