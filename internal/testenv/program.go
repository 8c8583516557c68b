package testenv

import (
	"context"
	"syscall"
	"testing"
)

// Program is how [StartProgram] runs a program that is no server of this package.
type Program struct {
	// Path is the executable; Args are its arguments, without its name.
	Path string
	Args []string
	// Env is its whole environment, "NAME=value" each; nil means the test's own.
	Env []string
	// Dir is its working directory.
	Dir string
	// Log is the file that its output is added to.
	Log string
}

// Process is a program that runs. Its methods may be called from any goroutine.
type Process struct{ process *process }

// StartProgram starts a program. On Linux it is killed when the test process ends
// before it.
func StartProgram(p Program) (*Process, error) {
	started, err := start(command{
		path: p.Path, args: p.Args, env: p.Env, dir: p.Dir,
		log: p.Log, keepLog: true, orphan: syscall.SIGKILL,
	})
	if err != nil {
		return nil, err
	}
	return &Process{started}, nil
}

// PID is its process id.
func (p *Process) PID() int { return p.process.pid }

// Exited is closed when the program has ended.
func (p *Process) Exited() <-chan struct{} { return p.process.exited }

// Err is how the program ended, once Exited is closed; nil when its exit code was 0.
func (p *Process) Err() error { return p.process.err }

// Signal sends it a signal. A program that has ended is no error.
func (p *Process) Signal(sig syscall.Signal) error { return p.process.signal(sig) }

// End sends it a signal and waits until it is gone. One that does not heed the
// signal within 20 s is killed, which is an error; so is nothing else.
func (p *Process) End(sig syscall.Signal) error { return p.process.end(sig) }

// FreePort returns a loopback port that nobody listens on, and that the kernel does
// not give to others by itself: for a program that is to come back at its address.
func FreePort(t testing.TB) int {
	t.Helper()
	port, err := freePort(context.WithoutCancel(t.Context()))
	if err != nil {
		t.Fatal(err)
	}
	return port
}
