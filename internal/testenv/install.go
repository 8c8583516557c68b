package testenv

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"testing"
)

// findProgram returns the path of a program: what PATH finds, else the newest in
// the directories that the first matching pattern names; empty when there is
// none.
func findProgram(name string, patterns ...string) string {
	if path, err := exec.LookPath(name); err == nil {
		return path
	}
	for _, pattern := range patterns {
		// The only error is a malformed pattern, which finds nothing.
		found, _ := filepath.Glob(filepath.Join(pattern, name))
		found = slices.DeleteFunc(found, func(path string) bool {
			_, err := exec.LookPath(path)
			return err != nil
		})
		if len(found) > 0 {
			return slices.MaxFunc(found, func(a, b string) int { return majorVersion(a) - majorVersion(b) })
		}
	}
	return ""
}

// majorVersion returns the first number in a path, as in
// "/usr/lib/postgresql/15/bin/initdb"; zero where there is none.
func majorVersion(path string) int {
	v, err := strconv.Atoi(regexp.MustCompile(`[0-9]+`).FindString(path))
	if err != nil {
		return 0
	}
	return v
}

// missing ends the test because what it needs is not installed.
func missing(t testing.TB, reason string) {
	t.Helper()
	if os.Getenv("TESTENV_REQUIRE") != "" {
		t.Fatalf("%s (a failure, because TESTENV_REQUIRE is set)", reason)
	}
	if path := os.Getenv("TESTENV_SKIPS"); path != "" {
		if err := appendLine(path, t.Name()+": "+reason); err != nil {
			t.Fatalf("note the skipped test: %v", err)
		}
	}
	t.Skip(reason)
}

// appendLine adds a line to a file that other test processes write to as well:
// one write in append mode stays in one piece.
func appendLine(path, line string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	_, err = f.WriteString(line + "\n")
	return errors.Join(err, f.Close())
}
