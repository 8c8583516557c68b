package rig

import (
	"bufio"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"github.com/klinghook/klinghook/bench/internal/results"
)

// LoadAverage is the machine's of the last minute; 0 where it cannot be read.
func LoadAverage() float64 {
	raw, _ := os.ReadFile("/proc/loadavg") // 0 then
	first, _, _ := strings.Cut(string(raw), " ")
	load, _ := strconv.ParseFloat(first, 64) // 0 then
	return load
}

// ThisMachine describes the machine and the programs that take part.
func (r *Rig) ThisMachine(ctx context.Context) results.Machine {
	m := results.Machine{
		Cores: runtime.NumCPU(), Processor: valueIn("/proc/cpuinfo", "model name"),
		System:   strings.Trim(valueIn("/etc/os-release", "PRETTY_NAME"), `"`) + ", Linux " + firstLine("/proc/sys/kernel/osrelease"),
		Programs: map[string]string{"go": runtime.Version()},
	}
	kib, _, _ := strings.Cut(valueIn("/proc/meminfo", "MemTotal"), " ")
	total, _ := strconv.ParseInt(kib, 10, 64) // 0 then
	m.MemoryMiB = total >> 10
	for name, command := range map[string][]string{
		"redis-server": {"redis-server", "--version"},
		"wrk":          {"wrk", "--version"},
		"node":         {"node", "--version"},
		"gunicorn":     {gunicorn, "--version"},
		"curl":         {"curl", "--version"},
	} {
		// wrk prints its version and fails all the same.
		out, _ := exec.CommandContext(ctx, command[0], command[1:]...).CombinedOutput()
		if line, _, _ := strings.Cut(string(out), "\n"); line != "" {
			m.Programs[name] = versionIn(line)
		}
	}
	if bin, err := postgresBin(); err == nil {
		if out, err := exec.CommandContext(ctx, filepath.Join(bin, "postgres"), "--version").Output(); err == nil {
			m.Programs["postgres"] = versionIn(string(out))
		}
	}
	return m
}

// versionIn returns the first word of a line that begins with a digit, or with "v" or
// "v=" and a digit.
func versionIn(line string) string {
	for _, word := range strings.Fields(line) {
		word = strings.TrimPrefix(strings.TrimPrefix(word, "v"), "=")
		if word = strings.TrimPrefix(word, "debian/"); word != "" && word[0] >= '0' && word[0] <= '9' {
			return word
		}
	}
	return line
}

// Commit is what is measured, as git describes it.
func (r *Rig) Commit(ctx context.Context) string {
	out, err := exec.CommandContext(ctx, "git", "-C", r.Root, "describe", "--always", "--dirty").Output()
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(out))
}

// valueIn returns the value of the first line of a file that begins with a name.
func valueIn(path, name string) string {
	file, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer func() { _ = file.Close() }() // it was only read
	for lines := bufio.NewScanner(file); lines.Scan(); {
		if rest, ok := strings.CutPrefix(lines.Text(), name); ok {
			return strings.TrimLeft(rest, " \t:=")
		}
	}
	return ""
}

func firstLine(path string) string {
	raw, _ := os.ReadFile(path) // empty then
	line, _, _ := strings.Cut(string(raw), "\n")
	return line
}
