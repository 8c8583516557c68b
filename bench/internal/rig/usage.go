package rig

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// tick is the unit of processor times in /proc, which Linux has fixed for programs.
const tick = time.Second / 100

// Usage is what a process and its children cost.
type Usage struct {
	// CPU is the processor time so far, that of children that have ended included.
	CPU time.Duration
	// RSS and Peak are the resident memory in bytes, now and at its most. Those of
	// several processes are added up, so that what they share counts several times.
	RSS, Peak int64
	// Processes is how many they are.
	Processes int
}

// UsageOf reads the usage of a process and its children.
func UsageOf(pid int) (Usage, error) {
	tree, err := processTree(pid)
	if err != nil {
		return Usage{}, err
	}
	var u Usage
	for _, p := range tree {
		if rss, peak, err := memory(p.pid); err == nil { // else it has just ended
			u.CPU += p.cpu
			u.RSS += rss
			u.Peak += peak
			u.Processes++
		}
	}
	if u.Processes == 0 {
		return Usage{}, fmt.Errorf("process %d has ended", pid)
	}
	return u, nil
}

// OwnUsage is the processor time of this process so far, without that of what it has
// started.
func OwnUsage() (Usage, error) {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		return Usage{}, fmt.Errorf("read own usage: %w", err)
	}
	return Usage{CPU: time.Duration(r.Utime.Nano() + r.Stime.Nano()), Processes: 1}, nil
}

type stat struct {
	pid, parent int
	cpu         time.Duration
}

// processTree returns the process and all its descendants.
func processTree(pid int) ([]stat, error) {
	paths, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return nil, err
	}
	children := make(map[int][]stat)
	var tree []stat
	for _, path := range paths {
		raw, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended
		}
		s, err := parseStat(raw)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		children[s.parent] = append(children[s.parent], s)
		if s.pid == pid {
			tree = append(tree, s)
		}
	}
	for i := 0; i < len(tree); i++ {
		tree = append(tree, children[tree[i].pid]...)
	}
	return tree, nil
}

// parseStat reads a line of /proc/<pid>/stat (proc(5)). The program's name, in
// parentheses, may hold anything.
func parseStat(raw []byte) (stat, error) {
	opened, closed := bytes.IndexByte(raw, '('), bytes.LastIndexByte(raw, ')')
	if opened < 1 || closed < opened {
		return stat{}, errors.New("it has no name in parentheses")
	}
	fields := strings.Fields(string(raw[closed+1:]))
	const parent, firstTime, lastTime = 1, 11, 14 // utime, stime, cutime, cstime
	if len(fields) <= lastTime {
		return stat{}, fmt.Errorf("it has only %d fields", len(fields))
	}
	var s stat
	var err error
	if s.pid, err = strconv.Atoi(strings.TrimSpace(string(raw[:opened]))); err != nil {
		return stat{}, err
	}
	if s.parent, err = strconv.Atoi(fields[parent]); err != nil {
		return stat{}, err
	}
	for _, field := range fields[firstTime : lastTime+1] {
		ticks, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return stat{}, err
		}
		s.cpu += time.Duration(ticks) * tick
	}
	return s, nil
}

// memory reads VmRSS and VmHWM in bytes.
func memory(pid int) (rss, peak int64, err error) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, 0, err
	}
	for line := range strings.Lines(string(raw)) {
		name, value, _ := strings.Cut(line, ":")
		to := map[string]*int64{"VmRSS": &rss, "VmHWM": &peak}[name]
		if to == nil {
			continue
		}
		kib, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
		if err != nil {
			return 0, 0, fmt.Errorf("read %s: %w", name, err)
		}
		*to = kib << 10
	}
	if rss == 0 {
		return 0, 0, errors.New("it has no memory: it has ended")
	}
	return rss, peak, nil
}
