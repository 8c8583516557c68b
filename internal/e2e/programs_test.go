package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// patience is how long anything may take before the test gives up.
const patience = time.Minute

// programs is a folder with both binaries, built once.
var programs = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "klinghook-e2e")
	if err != nil {
		return "", err
	}
	build := exec.CommandContext(context.Background(), "go", "build", "-o", dir+"/", "github.com/klinghook/klinghook/cmd/...")
	// The programs as they are built for use, whatever the test is built with.
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	build.Stderr = os.Stderr
	return dir, build.Run()
})

// program returns the path of a built binary.
func program(t *testing.T, name string) string {
	t.Helper()
	dir, err := programs()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, name)
}

// environment returns a clean environment with the given settings.
func environment(settings map[string]string) []string {
	env := []string{"HOME=" + os.TempDir(), "PATH=" + os.Getenv("PATH")}
	for name, value := range settings {
		env = append(env, name+"="+value)
	}
	return env
}

// service is a program that runs until it is stopped.
type service struct {
	t    *testing.T
	name string
	cmd  *exec.Cmd
	// lines are what it logs.
	lines chan string
	done  chan struct{}
}

// start runs a program. The test fails when it ends by itself.
func start(t *testing.T, name string, settings map[string]string, args ...string) *service {
	t.Helper()
	s := &service{t: t, name: name, lines: make(chan string, 1024), done: make(chan struct{})}
	s.cmd = exec.CommandContext(context.Background(), program(t, name), args...)
	s.cmd.Env = environment(settings)
	s.cmd.Dir = t.TempDir()
	stderr, err := s.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go s.read(stderr)
	t.Cleanup(s.stop)
	return s
}

// read passes the log on, and shows it when the test has failed.
func (s *service) read(stderr io.Reader) {
	defer close(s.done)
	var all []string
	for scanner := bufio.NewScanner(stderr); scanner.Scan(); {
		all = append(all, scanner.Text())
		select {
		case s.lines <- scanner.Text():
		default: // nobody waits for lines any more
		}
	}
	if s.t.Failed() {
		s.t.Logf("%s logged:\n%s", s.name, strings.Join(all, "\n"))
	}
}

// address waits until the program says where it listens for something.
func (s *service) address(what string) string {
	s.t.Helper()
	timeout := time.After(patience)
	for {
		select {
		case line := <-s.lines:
			var entry struct{ Message, For, Address string }
			if json.Unmarshal([]byte(line), &entry) == nil && entry.Message == "listening" && entry.For == what {
				return entry.Address
			}
		case <-s.done:
			s.t.Fatalf("%s ended before it listened for %s", s.name, what)
		case <-timeout:
			s.t.Fatalf("%s does not listen for %s", s.name, what)
		}
	}
}

// stop asks the program to stop and expects that it does so in good order.
func (s *service) stop() {
	if s.cmd.ProcessState != nil {
		return
	}
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		s.t.Errorf("stop %s: %v", s.name, err)
	}
	timer := time.AfterFunc(patience, func() { _ = s.cmd.Process.Kill() })
	defer timer.Stop()
	<-s.done
	if err := s.cmd.Wait(); err != nil {
		s.t.Errorf("%s: %v", s.name, err)
	}
}

// kill ends the program as a crash would.
func (s *service) kill() {
	s.t.Helper()
	if err := s.cmd.Process.Kill(); err != nil {
		s.t.Errorf("kill %s: %v", s.name, err)
	}
	<-s.done
	_ = s.cmd.Wait() // it was killed, which is an error here
}

// run runs a command to its end and returns what it prints.
func run(t *testing.T, settings map[string]string, args ...string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program(t, "klinghook"), args...)
	cmd.Env = environment(settings)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("klinghook %s: %w: %s", strings.Join(args, " "), err, stderr.String())
	}
	return string(out), err
}

// eventually asks until the answer is yes.
func eventually(t *testing.T, what string, ask func() (done bool, state string)) {
	t.Helper()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	timeout := time.After(patience)
	for {
		done, state := ask()
		if done {
			return
		}
		select {
		case <-tick.C:
		case <-timeout:
			t.Fatalf("waited in vain for %s: %s", what, state)
		}
	}
}
