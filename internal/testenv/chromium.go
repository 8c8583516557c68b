package testenv

import "testing"

// Chromium returns the path of a Chromium or Chrome. The test is skipped where
// none is installed.
func Chromium(t testing.TB) string {
	t.Helper()
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path := findProgram(name, "/usr/bin", "/Applications/Google Chrome.app/Contents/MacOS"); path != "" {
			return path
		}
	}
	missing(t, "chromium is not installed (Debian: apt-get install chromium)")
	return ""
}
