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
	"time"
)

const (
	// startTimeout bounds one start of a server, until it answers. It is long
	// because a machine that runs many tests at once can be very slow.
	startTimeout = time.Minute
	// stopTimeout bounds an orderly stop; then the server is killed.
	stopTimeout = 20 * time.Second
	// pollInterval is the wait between two looks at a server that starts.
	pollInterval = 5 * time.Millisecond
	// startPorts is how many ports are tried before a start is given up.
	startPorts = 5
)

// errBusy is matched by the error of a server that ended because something that
// it needs is still held: its port by anybody, or PostgreSQL's shared memory by
// the children of a server just killed.
var errBusy = errors.New("what it needs is still in use")

// command is how a server is started.
type command struct {
	path string
	args []string
	dir  string
	// env is the whole environment; nil means the test's, with messages in English.
	env []string
	// user is whom the server runs as; nil means as the test does.
	user *syscall.Credential
	// orphan is the signal that the server gets when the test process ends
	// before it (Linux only).
	orphan syscall.Signal
	// log is the file that its output goes to: from this start on, unless keepLog
	// says that it is added to what is there.
	log     string
	keepLog bool
}

// process is a running server.
type process struct {
	command command
	pid     int
	handle  *os.Process
	// exited is closed when the process has ended and was reaped.
	exited chan struct{}
	// err is how it ended; it is set before exited is closed.
	err error
}

// start starts the server without waiting for it to answer.
//
// The goroutine that starts it waits for it, on a thread of its own: Linux ties
// a child's death signal to the thread that started it, not to the process.
func start(c command) (*process, error) {
	p := &process{command: c, exited: make(chan struct{})}
	started := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer close(p.exited)
		cmd, log, err := p.run()
		started <- err
		if err != nil {
			return
		}
		p.err = errors.Join(cmd.Wait(), log.Close())
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", filepath.Base(c.path), err)
	}
	return p, nil
}

// run starts the program. The log file that it returns is open as long as the
// program writes to it.
func (p *process) run() (*exec.Cmd, *os.File, error) {
	flags := os.O_CREATE | os.O_TRUNC | os.O_APPEND | os.O_WRONLY
	if p.command.keepLog {
		flags &^= os.O_TRUNC
	}
	log, err := os.OpenFile(p.command.log, flags, 0o600)
	if err != nil {
		return nil, nil, err
	}
	// A server outlives every context of the test that starts it: it ends by
	// its signals.
	cmd := exec.CommandContext(context.Background(), p.command.path, p.command.args...)
	cmd.Dir = p.command.dir
	cmd.Stdout, cmd.Stderr = log, log
	if cmd.Env = p.command.env; cmd.Env == nil {
		// waitReady reads the log, so it is in English.
		cmd.Env = append(os.Environ(), "LC_ALL=C")
	}
	cmd.SysProcAttr = sysProcAttr(p.command.orphan)
	cmd.SysProcAttr.Credential = p.command.user
	if err := cmd.Start(); err != nil {
		return nil, nil, errors.Join(err, log.Close())
	}
	p.pid, p.handle = cmd.Process.Pid, cmd.Process
	return cmd, log, nil
}

// waitReady polls ready until it succeeds. The error of a server that ended, or
// that did not answer in time, carries the end of its log.
func (p *process) waitReady(ctx context.Context, ready func(context.Context) error) error {
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
			return p.startError()
		case <-ctx.Done():
			return fmt.Errorf("%s does not answer: %w:\n%s", filepath.Base(p.command.path), err, p.logTail())
		case <-tick.C:
		}
	}
}

// startError says why the server ended before it answered.
func (p *process) startError() error {
	name, log := filepath.Base(p.command.path), p.logTail()
	if strings.Contains(log, "in use") {
		return fmt.Errorf("%s ended before it answered: %w:\n%s", name, errBusy, log)
	}
	return fmt.Errorf("%s ended before it answered:\n%s", name, log)
}

// kill ends the process with SIGKILL and waits until it is gone. A process that
// ended before is fine.
func (p *process) kill() error { return p.end(syscall.SIGKILL) }

// end sends the signal and waits until the process is gone. One that does not
// heed it in time is killed, which is an error.
func (p *process) end(sig syscall.Signal) error {
	if err := p.signal(sig); err != nil {
		return err
	}
	// A paused process takes only SIGKILL before it runs again.
	if err := p.signal(syscall.SIGCONT); err != nil {
		return err
	}
	select {
	case <-p.exited:
		return nil
	case <-time.After(stopTimeout):
	}
	if err := p.signal(syscall.SIGKILL); err != nil {
		return err
	}
	<-p.exited
	return fmt.Errorf("stop %s: still running %v after %v, and was killed", filepath.Base(p.command.path), stopTimeout, sig)
}

func (p *process) signal(sig syscall.Signal) error {
	if err := p.handle.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("send %v to %s: %w", sig, filepath.Base(p.command.path), err)
	}
	return nil
}

// logTail returns the last 2,000 bytes of the server's output.
func (p *process) logTail() string {
	out, err := os.ReadFile(p.command.log)
	if err != nil {
		return err.Error()
	}
	return string(out[max(0, len(out)-2000):])
}

// onFreePort calls start with one port after another until one succeeds: a port
// that is free now may be taken before the server binds it.
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

// whileBusy calls start until it succeeds or fails for another reason than that
// what it needs is still in use, which passes.
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

// freePort returns a loopback port that nobody listens on. It lies below those
// that the kernel hands out by itself, so that nothing is given a server's port
// while the server is down.
func freePort(ctx context.Context) (int, error) {
	const first, last = 15_000, 32_000
	for range 100 {
		port := first + rand.IntN(last-first)
		var lc net.ListenConfig
		l, err := lc.Listen(ctx, "tcp", loopback(port))
		if err != nil {
			continue
		}
		return port, l.Close()
	}
	return 0, fmt.Errorf("no free loopback port found from %d to %d", first, last)
}

func loopback(port int) string {
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
}
