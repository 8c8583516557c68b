package rig

import (
	"os"
	"os/exec"
	"runtime"
	"testing"
	"time"
)

func TestParseStat(t *testing.T) {
	// A name may hold what looks like the fields that follow it.
	line := "4242 (a) R 1 (b) S 17 4242 4242 0 -1 4194560 100 0 0 0 250 50 7 3 20 0 1 0 12345 1000 200"
	got, err := parseStat([]byte(line))
	if err != nil {
		t.Fatal(err)
	}
	if want := (stat{pid: 4242, parent: 17, cpu: 3100 * time.Millisecond}); got != want {
		t.Errorf("parseStat = %+v, want %+v", got, want)
	}
	for _, bad := range []string{"", "1 (cut) S 1", "x (name) S 1 1 1 0 -1 0 0 0 0 0 1 1 1 1", "1 (name) S 1 1 1 0 -1 0 0 0 0 0 one 1 1 1"} {
		if _, err := parseStat([]byte(bad)); err == nil {
			t.Errorf("parseStat(%q) found no fault", bad)
		}
	}
}

func TestUsageOf(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("processor time and memory are read from Linux's /proc")
	}
	before, err := UsageOf(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if before.RSS < 1<<20 || before.Peak < before.RSS || before.Processes < 1 {
		t.Errorf("usage of this test = %+v", before)
	}
	child := exec.CommandContext(t.Context(), "sleep", "60")
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	with, err := UsageOf(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if with.Processes != before.Processes+1 {
		t.Errorf("%d processes with a child, want one more than %d", with.Processes, before.Processes)
	}
	if err := child.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = child.Wait() // it was killed
	if _, err := UsageOf(child.Process.Pid); err == nil {
		t.Error("a process that has ended has a usage")
	}
}
