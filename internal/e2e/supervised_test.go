package e2e

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/klinghook/klinghook/internal/testenv"
)

// restartAfter is how long an ended program stays down, as with a service manager.
const restartAfter = 300 * time.Millisecond

// supervised is a program that is restarted whenever it ends. Call start and stop from
// the test's goroutine.
type supervised struct {
	name              string
	program           testenv.Program
	stopping, stopped chan struct{}
	isStopping        bool

	mu      sync.Mutex // guards what follows
	process *testenv.Process
	problem error
}

// supervise starts a program and restarts it until stop.
func supervise(name string, program testenv.Program) *supervised {
	s := &supervised{name: name, program: program}
	s.start()
	return s
}

// start starts the program, also after stop.
func (s *supervised) start() {
	s.isStopping, s.stopping, s.stopped = false, make(chan struct{}), make(chan struct{})
	go s.run()
}

func (s *supervised) run() {
	defer close(s.stopped)
	for {
		p, err := testenv.StartProgram(s.program)
		if err != nil {
			s.report(err)
			return
		}
		s.mu.Lock()
		s.process = p
		s.mu.Unlock()
		select {
		case <-p.Exited():
		case <-s.stopping:
			s.report(p.End(syscall.SIGTERM))
			return
		}
		select {
		case <-time.After(restartAfter):
		case <-s.stopping:
			return
		}
	}
}

// report records the first error.
func (s *supervised) report(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil && s.problem == nil {
		s.problem = fmt.Errorf("%s: %w", s.name, err)
	}
}

// kill ends the program with SIGKILL; it is restarted.
func (s *supervised) kill() {
	s.mu.Lock()
	p := s.process
	s.mu.Unlock()
	if p != nil {
		s.report(p.Signal(syscall.SIGKILL))
	}
}

// stop ends the program with SIGTERM and waits for it. Later calls do nothing.
func (s *supervised) stop() {
	if !s.isStopping {
		s.isStopping = true
		close(s.stopping)
	}
	<-s.stopped
}

// problems returns errors and panics of the program.
func (s *supervised) problems() (list []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
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
