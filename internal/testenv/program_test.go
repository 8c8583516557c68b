package testenv

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestStartProgram(t *testing.T) {
	log := filepath.Join(t.TempDir(), "log")
	run := func(script string) *Process {
		p, err := StartProgram(Program{
			Path: "/bin/sh", Args: []string{"-c", script}, Env: []string{"WORD=hello"}, Dir: t.TempDir(), Log: log,
		})
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	p := run(`echo "$WORD $HOME"`)
	<-p.Exited()
	if p.Err() != nil {
		t.Error(p.Err())
	}
	p = run(`echo again; exec sleep 60`)
	if err := p.End(syscall.SIGKILL); err != nil {
		t.Error(err)
	}
	if p.Err() == nil {
		t.Error("a killed program ended without an error")
	}
	if err := p.Signal(syscall.SIGKILL); err != nil {
		t.Errorf("signal to a program that is gone: %v", err)
	}
	out, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	// Nothing of the test's own environment, and one run's output after another's.
	if !strings.HasPrefix(string(out), "hello \n") {
		t.Errorf("log is %q", out)
	}
}
