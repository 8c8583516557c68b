package chaos

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/klinghook/klinghook/internal/programs"
)

// fastClock gives the second worker a clock that is ten minutes ahead.
func fastClock(t *testing.T) layout {
	return layout{worker2: buildWithClock(t, 10*time.Minute)}
}

// buildWithClock builds the programs with another time.Now, and changes nothing
// else: go build takes one file of the standard library from elsewhere. Everything
// is compiled anew for that, which takes minutes the first time.
func buildWithClock(t *testing.T, ahead time.Duration) *programs.Set {
	t.Helper()
	original := filepath.Join(runtime.GOROOT(), "src", "time", "time.go") //nolint:staticcheck // The file is where the go command that builds has it.
	code, err := os.ReadFile(original)
	if err != nil {
		t.Fatal(err)
	}
	const reading = "\tsec, nsec, mono := runtimeNow()\n"
	changed := strings.Replace(string(code), reading, reading+"\tsec += "+size(int64(ahead/time.Second))+"\n", 1)
	if changed == string(code) {
		t.Fatalf("%s reads the clock in another way than this test knows", original)
	}
	dir := t.TempDir()
	replacement, overlay := filepath.Join(dir, "time.go"), filepath.Join(dir, "overlay.json")
	list, err := json.Marshal(map[string]map[string]string{"Replace": {original: replacement}})
	if err != nil {
		t.Fatal(err)
	}
	for path, content := range map[string]string{replacement: changed, overlay: string(list)} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Minute)
	defer cancel()
	set, err := programs.Build(ctx, "-overlay", overlay)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(set.Remove)
	return set
}

// clocksApart has workers whose clocks are ten minutes apart, and kills them.
func clocksApart(s *system, _ form) {
	s.receiver.setAnyTime()
	load := s.load(rate)
	for range 2 {
		s.pass(10 * time.Second)
		for _, p := range s.workers {
			p.kill()
			s.pass(3 * time.Second)
		}
	}
	load.finish()
}
