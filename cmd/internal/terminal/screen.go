package terminal

import (
	"io"
	"os"
	"sync"

	"github.com/vbauerster/mpb/v8"
	"golang.org/x/term"

	"github.com/klinghook/klinghook/cmd/internal/cli"
)

// Screen is a program's two outputs. Where both are the terminal, lines for either
// are printed above the bars, so that neither tears the other. It is safe for
// concurrent use.
type Screen struct {
	out, err *stream
	// canBars says that there may be bars: standard error is a terminal whose cursor
	// can be moved.
	canBars bool

	mu sync.Mutex // guards what follows, and the order of all that is written
	// progress draws the bars; nil while there are none.
	progress *mpb.Progress
	bars     int
}

// stream is one of a Screen's outputs.
type stream struct {
	screen   *Screen
	file     *os.File
	terminal bool
}

// New returns a Screen on standard output and standard error.
func New(out, err *os.File) *Screen {
	s := &Screen{}
	s.out, s.err = s.stream(out), s.stream(err)
	s.canBars = s.err.terminal && os.Getenv("TERM") != "dumb"
	return s
}

func (s *Screen) stream(file *os.File) *stream {
	return &stream{screen: s, file: file, terminal: term.IsTerminal(int(file.Fd()))}
}

// Out is standard output. What is written to it is whole lines.
func (s *Screen) Out() io.Writer { return s.out }

// Err is standard error. What is written to it is whole lines.
func (s *Screen) Err() io.Writer { return s.err }

// Watched reports whether a person looks on: both outputs are a terminal.
func (s *Screen) Watched() bool { return s.out.terminal && s.err.terminal }

// Coloured reports whether standard output may be coloured.
func (s *Screen) Coloured() bool { return cli.Coloured(s.out.file) }

// Write implements [io.Writer].
func (w *stream) Write(p []byte) (int, error) {
	w.screen.mu.Lock()
	defer w.screen.mu.Unlock()
	if w.screen.progress != nil && w.terminal {
		if n, err := w.screen.progress.Write(p); err == nil {
			return n, nil
		} // the bars have ended by themselves: their terminal could not be written to
	}
	return w.file.Write(p)
}
