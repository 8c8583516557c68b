package programs

import (
	"bufio"
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/klinghook/klinghook/internal/testenv"
)

// patience is how long a program may take to listen.
const patience = time.Minute

// Service is a program that runs until it is stopped. Its methods fail the test
// themselves, so they are called from its goroutine.
type Service struct {
	t       testing.TB
	name    string
	process *testenv.Process
	log     string
	stopped bool
}

// Start runs a program until the test ends, and expects that it then stops in good
// order. Its log is shown when the test has failed.
func (s *Set) Start(t testing.TB, name string, settings map[string]string, args ...string) *Service {
	t.Helper()
	dir := t.TempDir()
	sv := &Service{t: t, name: name, log: filepath.Join(dir, "log")}
	var err error
	sv.process, err = testenv.StartProgram(testenv.Program{
		Path: s.Path(name), Args: args, Env: Environment(settings), Dir: dir, Log: sv.log,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		sv.Stop()
		if t.Failed() {
			t.Logf("%s logged:\n%s", name, sv.Output())
		}
	})
	return sv
}

// Address waits until the program says where it listens for something: "webhooks"
// or "admin".
func (s *Service) Address(what string) string {
	s.t.Helper()
	var addr string
	s.await("listen for "+what, func() bool {
		addr = Listening(s.Output(), what)
		return addr != ""
	})
	return addr
}

// Listening returns the address of which a program's log in JSON says that it
// listens there for something; empty when it says no such thing.
func Listening(log []byte, what string) string {
	for lines := bufio.NewScanner(bytes.NewReader(log)); lines.Scan(); {
		var entry struct{ Message, For, Address string }
		if json.Unmarshal(lines.Bytes(), &entry) == nil && entry.Message == "listening" && entry.For == what {
			return entry.Address
		}
	}
	return ""
}

// Output is what the program has logged and printed so far.
func (s *Service) Output() []byte {
	out, err := os.ReadFile(s.log)
	if err != nil {
		s.t.Fatalf("read the log of %s: %v", s.name, err)
	}
	return out
}

// Name is the program's.
func (s *Service) Name() string { return s.name }

// PID is the program's process id.
func (s *Service) PID() int { return s.process.PID() }

// Stop asks the program to stop and expects that it does so in good order. One that
// was stopped or killed before is left alone.
func (s *Service) Stop() {
	s.t.Helper()
	if s.stopped {
		return
	}
	s.stopped = true
	if err := s.process.End(syscall.SIGTERM); err != nil {
		s.t.Error(err)
	} else if err := s.process.Err(); err != nil {
		s.t.Errorf("%s: %v", s.name, err)
	}
}

// Kill ends the program as a crash would.
func (s *Service) Kill() {
	s.t.Helper()
	s.stopped = true
	if err := s.process.End(syscall.SIGKILL); err != nil {
		s.t.Error(err)
	}
}

// Signal sends the program a signal.
func (s *Service) Signal(sig syscall.Signal) {
	s.t.Helper()
	if err := s.process.Signal(sig); err != nil {
		s.t.Fatalf("signal %s: %v", s.name, err)
	}
}

// Logged waits until the program logs a message.
func (s *Service) Logged(message string) {
	s.t.Helper()
	quoted := strconv.Quote(message)
	s.await("log "+quoted, func() bool { return strings.Contains(string(s.Output()), quoted) })
}

// Wait waits until the program has ended by itself and returns how.
func (s *Service) Wait() error {
	s.t.Helper()
	s.stopped = true
	select {
	case <-s.process.Exited():
		return s.process.Err()
	case <-time.After(patience):
		s.t.Fatalf("%s does not end", s.name)
		return nil
	}
}

// await polls until the program has done something, which is the end of a sentence
// that begins with its name.
func (s *Service) await(what string, done func() bool) {
	s.t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	timeout := time.After(patience)
	for !done() {
		select {
		case <-tick.C:
		case <-s.process.Exited():
			s.t.Fatalf("%s ended before this: to %s:\n%s", s.name, what, s.Output())
		case <-timeout:
			s.t.Fatalf("%s does not %s", s.name, what)
		}
	}
}
