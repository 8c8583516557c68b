package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/klinghook/klinghook/internal/testenv"
)

// The programs.
const (
	ingestProgram = "klinghook-ingest"
	klinghook     = "klinghook"
)

// patience is how long anything may take before a test fails. A task of a killed
// worker runs again within two minutes.
const patience = 3 * time.Minute

func TestMain(m *testing.M) { testenv.Main(suite{m}) }

// suite removes the built programs after the tests.
type suite struct{ *testing.M }

// Run implements the interface of testenv.Main.
func (s suite) Run() int {
	code := s.M.Run()
	if builtIn != "" {
		_ = os.RemoveAll(builtIn)
	}
	return code
}

// builtIn is where the programs are, once a test has built them.
var builtIn string

// buildOnce builds the programs for all tests.
var buildOnce = sync.OnceValue(func() (err error) {
	if builtIn, err = os.MkdirTemp("", "klinghook-programs-"); err == nil {
		err = build(context.Background(), builtIn)
	}
	return err
})

// programs returns the folder of the programs.
func programs(t *testing.T) string {
	t.Helper()
	testenv.NoError(t, buildOnce())
	return builtIn
}

// build builds the programs as they are released.
func build(ctx context.Context, dir string, flags ...string) error {
	args := append(append([]string{"build"}, flags...), "-o", dir+"/",
		"github.com/klinghook/klinghook/cmd/"+ingestProgram, "github.com/klinghook/klinghook/cmd/"+klinghook)
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build programs: %w:\n%s", err, out)
	}
	return nil
}

// environment returns an environment with these settings and no others.
func environment(settings map[string]string) []string {
	env := []string{"HOME=" + os.TempDir(), "PATH=" + os.Getenv("PATH"), "TMPDIR=" + os.TempDir()}
	for name, value := range settings {
		env = append(env, name+"="+value)
	}
	return env
}

// run runs a command of klinghook and returns its stdout.
func run(t *testing.T, settings map[string]string, args ...string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), filepath.Join(programs(t), klinghook), args...)
	cmd.Env = environment(settings)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("klinghook %s: %w: %s", strings.Join(args, " "), err, stderr.String())
	}
	return string(out), err
}

// service is a program that runs until it is stopped. Its methods fail the test, so
// call them from its goroutine.
type service struct {
	t         testing.TB
	name, log string
	process   *testenv.Process
	ended     bool
}

// start runs a program until the test ends. It must then stop with exit code 0.
func start(t *testing.T, name string, settings map[string]string, args ...string) *service {
	t.Helper()
	dir := t.TempDir()
	s := &service{t: t, name: name, log: filepath.Join(dir, "log")}
	var err error
	s.process, err = testenv.StartProgram(testenv.Program{
		Path: filepath.Join(programs(t), name), Args: args, Env: environment(settings), Dir: dir, Log: s.log,
	})
	testenv.NoError(t, err)
	t.Cleanup(func() {
		s.stop()
		if t.Failed() {
			t.Logf("%s logged:\n%s", name, s.output())
		}
	})
	return s
}

// address waits until the program listens for something and returns the address.
func (s *service) address(purpose string) (addr string) {
	s.t.Helper()
	s.await("listens for "+purpose, func() bool {
		for line := range bytes.Lines(s.output()) {
			var entry struct{ Message, For, Address string }
			if json.Unmarshal(line, &entry) == nil && entry.Message == "listening" && entry.For == purpose {
				addr = entry.Address
			}
		}
		return addr != ""
	})
	return addr
}

// url is the base URL for webhooks.
func (s *service) url() string { s.t.Helper(); return "http://" + s.address("webhooks") }

// output returns what the program has logged and printed.
func (s *service) output() []byte {
	out, err := os.ReadFile(s.log)
	testenv.NoError(s.t, err)
	return out
}

// stop stops the program, which must end with exit code 0. A program that was stopped
// or killed before is left alone.
func (s *service) stop() {
	s.t.Helper()
	if s.ended {
		return
	}
	s.ended = true
	if err := s.process.End(syscall.SIGTERM); err != nil {
		s.t.Error(err)
	} else if err := s.process.Err(); err != nil {
		s.t.Errorf("%s: %v", s.name, err)
	}
}

// kill ends the program as a crash would.
func (s *service) kill() {
	s.t.Helper()
	s.ended = true
	if err := s.process.End(syscall.SIGKILL); err != nil {
		s.t.Error(err)
	}
}

// signal sends SIGTERM and waits until the program logs that it stops.
func (s *service) signal() {
	s.t.Helper()
	testenv.NoError(s.t, s.process.Signal(syscall.SIGTERM))
	s.await("stops", func() bool { return bytes.Contains(s.output(), []byte(strconv.Quote("stopping"))) })
}

// wait waits until the program has ended and returns how.
func (s *service) wait() error {
	s.t.Helper()
	s.ended = true
	select {
	case <-s.process.Exited():
		return s.process.Err()
	case <-time.After(patience):
		s.t.Fatalf("%s does not end", s.name)
		return nil
	}
}

// await polls until done; what completes a sentence about the program.
func (s *service) await(what string, done func() bool) {
	s.t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	timeout := time.After(patience)
	for !done() {
		select {
		case <-tick.C:
		case <-s.process.Exited():
			s.t.Fatalf("%s ended before it %s:\n%s", s.name, what, s.output())
		case <-timeout:
			s.t.Fatalf("%s never %s", s.name, what)
		}
	}
}

// eventually polls until done; state describes the last attempt.
func eventually(t *testing.T, what string, poll func() (done bool, state string)) {
	t.Helper()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	timeout := time.After(patience)
	for {
		done, state := poll()
		if done {
			return
		}
		select {
		case <-tick.C:
		case <-timeout:
			t.Fatalf("waited %s for %s: %s", patience, what, state)
		}
	}
}
