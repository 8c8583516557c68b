package testenv

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"
)

// recordingTB records how a test ended; like testing.T, it ends the goroutine.
type recordingTB struct {
	testing.TB
	skipped, failed bool
}

func (r *recordingTB) Helper()               {}
func (r *recordingTB) Name() string          { return "TestStore/postgres" }
func (r *recordingTB) Skip(...any)           { r.skipped = true; runtime.Goexit() }
func (r *recordingTB) Fatalf(string, ...any) { r.failed = true; runtime.Goexit() }

func TestMissingServerSkipsOrFails(t *testing.T) {
	tests := []struct {
		name, require           string
		wantSkipped, wantFailed bool
		wantNotes               string
	}{
		{"skipped and noted", "", true, false, "earlier\nTestStore/postgres: no server\n"},
		{"fails if required", "1", false, true, "earlier\n"},
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
