package testenv

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

const (
	// startTimeout bounds one start of a server, until it answers. It is long because a
	// machine that runs many tests at once can be very slow.
	startTimeout = time.Minute
	// stopTimeout bounds an orderly stop; then the server is killed.
	stopTimeout = 20 * time.Second
	// pollInterval is the wait between two checks of a server that starts.
	pollInterval = 5 * time.Millisecond
	// startPorts is how many ports are tried before a start fails.
	startPorts = 5
)

// errBusy reports that a server ended because something it needs is in use: its port, or
// PostgreSQL's shared memory while the children of a killed server still run.
var errBusy = errors.New("still in use")

// Program is a program to run.
type Program struct {
	// Path is the executable; Args are its arguments, without its name.
	Path string
	Args []string
	// Env is its whole environment, "NAME=value" each; nil means the test's own.
	Env []string
	// Dir is its working directory.
	Dir string
	// Log is the file to which its output is appended.
	Log string

	// user is the user it runs as; nil means the test's own.
	user *syscall.Credential
	// orphan is the signal it gets if the test process ends first (Linux only).
	orphan syscall.Signal
}

// Process is a running program. Its methods may be called from any goroutine.
type Process struct {
	program Program
	handle  *os.Process
	exited  chan struct{}
	err     error // set before exited is closed
}

// StartProgram starts a program. On Linux the program is killed if the test process ends
// first.
func StartProgram(p Program) (*Process, error) {
	p.orphan = syscall.SIGKILL
	return start(p)
}

// start starts a program without waiting for it to answer. The goroutine that starts it
// waits for its end on its own thread: Linux sends a child's death signal when the thread
// that started the child ends, not the process.
func start(program Program) (*Process, error) {
	p := &Process{program: program, exited: make(chan struct{})}
	started := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer close(p.exited)
		cmd, log, err := program.run()
		if err == nil {
			p.handle = cmd.Process
		}
		started <- err
		if err == nil {
			p.err = errors.Join(cmd.Wait(), log.Close())
		}
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", program.name(), err)
	}
	return p, nil
}

// run starts the program and returns its log, to be closed when it has ended.
func (p *Program) run() (*exec.Cmd, *os.File, error) {
	log, err := os.OpenFile(p.Log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, nil, err
	}
	// A server ends by signals, not with a context.
	cmd := exec.CommandContext(context.Background(), p.Path, p.Args...)
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = p.Dir, p.Env, log, log
	cmd.SysProcAttr = sysProcAttr(p.orphan)
	cmd.SysProcAttr.Credential = p.user
	if err := cmd.Start(); err != nil {
		return nil, nil, errors.Join(err, log.Close())
	}
	return cmd, log, nil
}

func (p *Program) name() string { return filepath.Base(p.Path) }

// PID returns its process id.
func (p *Process) PID() int { return p.handle.Pid }

// Exited is closed when the program has ended.
func (p *Process) Exited() <-chan struct{} { return p.exited }

// Err reports how the program ended, after Exited is closed; nil for exit code 0.
func (p *Process) Err() error { return p.err }

// Signal sends it a signal. It is not an error if the program has ended.
func (p *Process) Signal(sig syscall.Signal) error {
	if err := p.handle.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("send %v to %s: %w", sig, p.program.name(), err)
	}
	return nil
}

// End sends it a signal and waits until it has ended. After 20 s it kills the program and
// returns an error.
func (p *Process) End(sig syscall.Signal) error {
	// A paused process takes only SIGKILL until it continues.
	if err := errors.Join(p.Signal(sig), p.Signal(syscall.SIGCONT)); err != nil {
		return err
	}
	select {
	case <-p.exited:
		return nil
	case <-time.After(stopTimeout):
	}
	if err := p.Signal(syscall.SIGKILL); err != nil {
		return err
	}
	<-p.exited
	return fmt.Errorf("stop %s: killed, because it still ran %v after %v", p.program.name(), stopTimeout, sig)
}

// waitReady polls ready until it succeeds. The error of a server that ended, or did
// not answer in time, includes the end of its log.
func (p *Process) waitReady(ctx context.Context, ready func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for {
		err := ready(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-p.exited:
			log := p.logTail()
			if strings.Contains(log, "in use") {
				return fmt.Errorf("%s ended: %w:\n%s", p.program.name(), errBusy, log)
			}
			return fmt.Errorf("%s ended before it answered:\n%s", p.program.name(), log)
		case <-ctx.Done():
			return fmt.Errorf("%s does not answer: %w:\n%s", p.program.name(), err, p.logTail())
		case <-tick.C:
		}
	}
}

// logTail returns the last 2,000 bytes of its output.
func (p *Process) logTail() string {
	out, err := os.ReadFile(p.program.Log)
	if err != nil {
		return err.Error()
	}
	return string(out[max(0, len(out)-2000):])
}

// onFreePort calls start with one port after another until one succeeds: a port that
// is free now may be taken before the server binds it.
func onFreePort(ctx context.Context, start func(port int) error) error {
	var last error
	for range startPorts {
		port, err := freePort(ctx)
		if err != nil {
			return err
		}
		if last = start(port); !errors.Is(last, errBusy) {
			return last
		}
	}
	return last
}

// whileBusy repeats start while it fails with errBusy, for a minute.
func whileBusy(ctx context.Context, start func() error) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for {
		err := start()
		if !errors.Is(err, errBusy) || ctx.Err() != nil {
			return err
		}
	}
}

// FreePort returns a free loopback port that the kernel does not assign itself, for a
// program that is restarted at the same address.
func FreePort(t testing.TB) int {
	t.Helper()
	port, err := freePort(context.WithoutCancel(t.Context()))
	if err != nil {
		t.Fatal(err)
	}
	return port
}

func freePort(ctx context.Context) (int, error) {
	const first, last = 15_000, 32_000 // below the ports that the kernel assigns
	for range 100 {
		port := first + rand.IntN(last-first)
		var lc net.ListenConfig
		l, err := lc.Listen(ctx, "tcp", loopback(port))
		if err != nil {
			continue
		}
		return port, l.Close()
	}
	return 0, fmt.Errorf("no free loopback port between %d and %d", first, last)
}

func loopback(port int) string {
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
}
