package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
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

// patience is how long a test may take. A task of a killed worker runs again within two
// minutes.
const patience = 5 * time.Minute

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

// service is a program that runs until it is stopped. Call its methods from the test's
// goroutine.
type service struct {
	w       *world
	name    string
	program testenv.Program
	process *testenv.Process
	ended   bool // by stop or kill
}

// start starts a program with the world's settings until the test ends. It must then
// stop with exit code 0.
func (w *world) start(name string, args ...string) *service {
	w.t.Helper()
	return w.startIn(programs(w.t), name, args...)
}

// startIn starts a program of this folder.
func (w *world) startIn(dir, name string, args ...string) *service {
	w.t.Helper()
	s := &service{w: w, name: fmt.Sprintf("%s-%d", name, len(w.services)+1)}
	s.program = testenv.Program{
		Path: filepath.Join(dir, name), Args: args, Env: environment(w.settings), Dir: w.dir, Log: filepath.Join(w.dir, s.name+".log"),
	}
	w.services = append(w.services, s)
	s.begin()
	w.t.Cleanup(func() {
		s.stop()
		if log := s.output(); w.t.Failed() {
			w.t.Logf("%s logged at the end:\n%s", s.name, log[max(0, len(log)-10_000):])
		}
	})
	return s
}

// begin starts the program, again after stop or kill.
func (s *service) begin() {
	s.w.t.Helper()
	var err error
	s.process, err = testenv.StartProgram(s.program)
	testenv.NoError(s.w.t, err)
	s.ended = false
}

// address waits until the program listens for something and returns the address.
func (s *service) address(purpose string) (addr string) {
	s.w.t.Helper()
	s.w.await(s.name+" to listen for "+purpose, func() (bool, string) {
		for line := range bytes.Lines(s.output()) {
			var entry struct{ Message, For, Address string }
			if json.Unmarshal(line, &entry) == nil && entry.Message == "listening" && entry.For == purpose {
				addr = entry.Address
			}
		}
		if problems := s.problems(); addr == "" && len(problems) > 0 {
			s.w.t.Fatalf("%q:\n%s", problems, s.output())
		}
		return addr != "", ""
	})
	return addr
}

// url is the base URL for webhooks.
func (s *service) url() string { s.w.t.Helper(); return "http://" + s.address("webhooks") }

// output returns what the program has logged and printed.
func (s *service) output() []byte {
	out, err := os.ReadFile(s.program.Log)
	testenv.NoError(s.w.t, err)
	return out
}

// problems returns the program's panics, and its end if nothing stopped it.
func (s *service) problems() (list []string) {
	select {
	case <-s.process.Exited():
		if !s.ended {
			list = append(list, fmt.Sprintf("%s ended by itself: %v", s.name, s.process.Err()))
		}
	default:
	}
	for line := range strings.Lines(string(s.output())) {
		if strings.HasPrefix(line, "panic: ") || strings.HasPrefix(line, "fatal error: ") || strings.Contains(line, `"message":"panic"`) {
			list = append(list, s.name+": "+strings.TrimSpace(line))
		}
	}
	return list
}

// stop stops the program, which must end with exit code 0. A program that was stopped
// or killed before is left alone.
func (s *service) stop() {
	s.w.t.Helper()
	if s.ended {
		return
	}
	s.ended = true
	if err := s.process.End(syscall.SIGTERM); err != nil {
		s.w.t.Error(err)
	} else if err := s.process.Err(); err != nil {
		s.w.t.Errorf("%s: %v", s.name, err)
	}
}

// kill ends the program as a crash would.
func (s *service) kill() {
	s.w.t.Helper()
	s.ended = true
	if err := s.process.End(syscall.SIGKILL); err != nil {
		s.w.t.Error(err)
	}
}
