package testenv

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"testing"
)

// Promtool returns the path of promtool, which checks Prometheus's rules.
func Promtool(t testing.TB) string {
	t.Helper()
	return installed(t, "prometheus", "promtool")
}

// Chromium returns the path of a Chromium or Chrome.
func Chromium(t testing.TB) string {
	t.Helper()
	return installed(t, "chromium", "chromium", "chromium-browser", "google-chrome", "Google Chrome")
}

// Script returns the path of util-linux's script, which opens terminals.
func Script(t testing.TB) string {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("only Linux has util-linux's script")
	}
	return installed(t, "bsdutils", "script")
}

// installed returns the path of the first of these programs that is in PATH or in a
// directory where packages install it. If there is none, it ends the test.
func installed(t testing.TB, install string, programs ...string) string {
	t.Helper()
	for _, program := range programs {
		if path := find(program); path != "" {
			return path
		}
	}
	missing(t, programs[0]+" is not installed (Debian, Ubuntu: apt-get install "+install+"; macOS: brew install "+install+")")
	return ""
}

// find returns the path of the latest version of a program; empty if there is none.
func find(program string) string {
	if path, err := exec.LookPath(program); err == nil {
		return path
	}
	for _, dir := range []string{
		"/usr/bin", "/usr/local/bin", "/opt/homebrew/bin", "/Applications/Google Chrome.app/Contents/MacOS",
		"/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/usr/local/pgsql/bin",
		"/opt/homebrew/opt/postgresql@*/bin", "/usr/local/opt/postgresql@*/bin",
	} {
		// The only error is a malformed pattern.
		if found, _ := filepath.Glob(filepath.Join(dir, program)); len(found) > 0 {
			return slices.Max(found)
		}
	}
	return ""
}

// missing ends the test because something it needs is not installed.
func missing(t testing.TB, reason string) {
	t.Helper()
	if os.Getenv("TESTENV_REQUIRE") != "" {
		t.Fatalf("%s (TESTENV_REQUIRE is set)", reason)
	}
	if path := os.Getenv("TESTENV_SKIPS"); path != "" {
		if err := appendLine(path, t.Name()+": "+reason); err != nil {
			t.Fatalf("record the skipped test: %v", err)
		}
	}
	t.Skip(reason)
}

// appendLine adds a line to a file that other test processes also write to.
func appendLine(path, line string) error {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	_, err = file.WriteString(line + "\n")
	return errors.Join(err, file.Close())
}
