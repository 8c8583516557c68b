package main

import (
	"io"
	"os"
	"sync"

	"github.com/vbauerster/mpb/v8"
	"golang.org/x/term"

	"github.com/klinghook/klinghook/cmd/internal/cli"
)

// console is standard output and standard error. On a terminal, lines are printed above
// the bars. It is safe for concurrent use.
type console struct {
	out, err *stream
	canBars  bool // standard error is a terminal whose cursor can be moved

	mu       sync.Mutex    // guards the fields below, and the order of all writes
	progress *mpb.Progress // nil while there are no bars
	bars     int
}

type stream struct {
	screen   *console
	file     *os.File
	terminal bool
}

// newConsole returns a console on standard output and standard error.
func newConsole(out, err *os.File) *console {
	s := &console{}
	s.out, s.err = s.stream(out), s.stream(err)
	s.canBars = s.err.terminal && os.Getenv("TERM") != "dumb"
	return s
}

func (s *console) stream(file *os.File) *stream {
	return &stream{screen: s, file: file, terminal: term.IsTerminal(int(file.Fd()))}
}

// Out is standard output. Writes must be whole lines.
func (s *console) Out() io.Writer { return s.out }

// Err is standard error. Writes must be whole lines.
func (s *console) Err() io.Writer { return s.err }

// Interactive reports whether both outputs are terminals.
func (s *console) Interactive() bool { return s.out.terminal && s.err.terminal }

// Coloured reports whether standard output may be coloured.
func (s *console) Coloured() bool { return cli.Coloured(s.out.file) }

// Write implements [io.Writer].
func (w *stream) Write(p []byte) (int, error) {
	w.screen.mu.Lock()
	defer w.screen.mu.Unlock()
	if w.screen.progress != nil && w.terminal {
		if n, err := w.screen.progress.Write(p); err == nil {
			return n, nil
		} // writing to the terminal failed, which ended the bars
	}
	return w.file.Write(p)
}
