package chaos

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/klinghook/klinghook/internal/testenv"
)

// restartAfter is how long a program that has ended stays away, as with a service
// manager.
const restartAfter = 300 * time.Millisecond

// supervised is a program that is started again whenever it ends.
type supervised struct {
	name    string
	program testenv.Program

	mu      sync.Mutex // guards what follows
	process *testenv.Process
	problem error
	kills   int

	// isStopping belongs to the test's goroutine, from which start and stop are
	// called.
	isStopping bool
	stopping   chan struct{}
	stopped    chan struct{}
}

// supervise starts a program and keeps it running until stop.
func supervise(name string, program testenv.Program) *supervised {
	s := &supervised{name: name, program: program}
	s.start()
	return s
}

// start starts it after stop.
func (s *supervised) start() {
	s.isStopping, s.stopping, s.stopped = false, make(chan struct{}), make(chan struct{})
	go s.run()
}

func (s *supervised) run() {
	defer close(s.stopped)
	for {
		p, err := testenv.StartProgram(s.program)
		if err != nil {
			s.note(err)
			return
		}
		s.mu.Lock()
		s.process = p
		s.mu.Unlock()
		select {
		case <-p.Exited():
		case <-s.stopping:
			s.note(p.End(syscall.SIGTERM))
			return
		}
		select {
		case <-time.After(restartAfter):
		case <-s.stopping:
			return
		}
	}
}

func (s *supervised) note(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil && s.problem == nil {
		s.problem = fmt.Errorf("%s: %w", s.name, err)
	}
}

// kill ends the program with SIGKILL; it comes back.
func (s *supervised) kill() {
	s.mu.Lock()
	p := s.process
	s.kills++
	s.mu.Unlock()
	if p != nil {
		s.note(p.Signal(syscall.SIGKILL))
	}
}

// stop ends the program with SIGTERM and waits until it is gone. It may be called
// again.
func (s *supervised) stop() {
	if !s.isStopping {
		s.isStopping = true
		close(s.stopping)
	}
	<-s.stopped
}

// troubles returns what went wrong with the program that its being killed does not
// explain.
func (s *supervised) troubles() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []string
	if s.problem != nil {
		list = append(list, s.problem.Error())
	}
	log, err := os.ReadFile(s.program.Log)
	if err != nil {
		list = append(list, err.Error())
	}
	for line := range strings.Lines(string(log)) {
		if strings.HasPrefix(line, "panic: ") || strings.HasPrefix(line, "fatal error: ") || strings.Contains(line, `"message":"panic"`) {
			list = append(list, fmt.Sprintf("%s: %s", s.name, strings.TrimSpace(line)))
		}
	}
	return list
}
