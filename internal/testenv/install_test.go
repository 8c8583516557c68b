package testenv

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// recordingTB notes how a test was ended; like testing.T, it ends the goroutine.
type recordingTB struct {
	testing.TB
	skipped, failed bool
}

func (r *recordingTB) Helper()               {}
func (r *recordingTB) Name() string          { return "TestStore/postgres" }
func (r *recordingTB) Skip(...any)           { r.skipped = true; runtime.Goexit() }
func (r *recordingTB) Fatalf(string, ...any) { r.failed = true; runtime.Goexit() }

func TestMissing(t *testing.T) {
	tests := []struct {
		name, require           string
		wantSkipped, wantFailed bool
		wantNotes               string
	}{
		{"skips and notes it", "", true, false, "earlier\nTestStore/postgres: no server\n"},
		{"fails where it is required", "1", false, true, "earlier\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			notes := filepath.Join(t.TempDir(), "skips")
			if err := os.WriteFile(notes, []byte("earlier\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			t.Setenv("TESTENV_REQUIRE", tt.require)
			t.Setenv("TESTENV_SKIPS", notes)

			var tb recordingTB
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				missing(&tb, "no server")
			}()
			<-ended

			if tb.skipped != tt.wantSkipped || tb.failed != tt.wantFailed {
				t.Errorf("skipped, failed = %v, %v; want %v, %v", tb.skipped, tb.failed, tt.wantSkipped, tt.wantFailed)
			}
			got, err := os.ReadFile(notes)
			if err != nil {
				t.Fatal(err)
			}
			if string(got) != tt.wantNotes {
				t.Errorf("notes = %q, want %q", got, tt.wantNotes)
			}
		})
	}
}

func TestFindProgram(t *testing.T) {
	dir := t.TempDir()
	for _, version := range []string{"9.6", "15", "16"} {
		bin := filepath.Join(dir, version, "bin")
		if err := os.MkdirAll(bin, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(bin, "klinghook-test-program"), nil, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	// Below dir, so that only the version is a number in the path.
	t.Chdir(dir)

	tests := []struct {
		name, program, path string
		patterns            []string
		want                string
	}{
		{"newest of several", "klinghook-test-program", "", []string{"*/bin"}, "16/bin/klinghook-test-program"},
		{"first pattern that matches", "klinghook-test-program", "", []string{"17/bin", "9.6/bin", "*/bin"}, "9.6/bin/klinghook-test-program"},
		{"PATH before patterns", "klinghook-test-program", filepath.Join(dir, "15", "bin"), []string{"*/bin"}, filepath.Join(dir, "15", "bin", "klinghook-test-program")},
		{"nowhere", "klinghook-no-such-program", "", []string{"*/bin"}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Setenv("PATH", tt.path)
			if got := findProgram(tt.program, tt.patterns...); got != tt.want {
				t.Errorf("findProgram = %q, want %q", got, tt.want)
			}
		})
	}
}

func TestMajorVersion(t *testing.T) {
	for path, want := range map[string]int{
		"/usr/lib/postgresql/9.6/bin/initdb":         9,
		"/usr/lib/postgresql/15/bin/initdb":          15,
		"/opt/homebrew/opt/postgresql@17/bin/initdb": 17,
		"/usr/local/pgsql/bin/initdb":                0,
		strings.Repeat("9", 40):                      0,
	} {
		if got := majorVersion(path); got != want {
			t.Errorf("majorVersion(%q) = %d, want %d", path, got, want)
		}
	}
}
