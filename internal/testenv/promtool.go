package testenv

import "testing"

// Promtool returns the path of promtool, which checks Prometheus's rules. The test is
// skipped where it is not installed.
func Promtool(t testing.TB) string {
	t.Helper()
	path := findProgram("promtool", "/usr/bin", "/usr/local/bin", "/opt/homebrew/bin")
	if path == "" {
		missing(t, "promtool is not installed (Debian, Ubuntu: apt-get install prometheus; macOS: brew install prometheus)")
	}
	return path
}
