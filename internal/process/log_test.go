package process_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"

	"github.com/klinghook/klinghook/internal/process"
	"github.com/klinghook/klinghook/internal/testenv"
)

// logged returns the lines that a logger with this level and format writes.
func logged(t *testing.T, level, format string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "log")
	file, err := os.Create(path)
	testenv.NoError(t, err)
	defer file.Close()
	log, err := process.NewLogger(process.LogConfig{Level: level, Format: format, File: file})
	testenv.NoError(t, err)
	log.Debug("looked")
	log.Info("recorded", zap.String("event_id", "klingai:1"), zap.Duration("duration", 1500*time.Millisecond))
	log.Warn("retried", zap.Int("attempt", 2), zap.Error(errors.New("refused")))
	log.Error("given up")
	testenv.NoError(t, log.Sync())
	content, err := os.ReadFile(path)
	testenv.NoError(t, err)
	return string(content)
}

func TestAutoFormatIsJSONInFiles(t *testing.T) {
	for _, format := range []string{"json", "auto"} { // a file is not a terminal
		t.Run(format, func(t *testing.T) {
			lines := strings.Split(strings.TrimSpace(logged(t, "info", format)), "\n")
			want := []map[string]any{
				{"level": "info", "message": "recorded", "event_id": "klingai:1", "duration": "1.5s"},
				{"level": "warn", "message": "retried", "attempt": 2.0, "error": "refused"},
				{"level": "error", "message": "given up"},
			}
			for i, line := range lines {
				var got map[string]any
				if err := json.Unmarshal([]byte(line), &got); err != nil {
					t.Fatalf("%q: %v", line, err)
				}
				written, _ := got["time"].(string)
				if at, err := time.Parse(time.RFC3339Nano, written); err != nil || time.Since(at).Abs() > time.Hour {
					t.Errorf("line %d: time is %q", i+1, written)
				}
				delete(got, "time")
				if diff := cmp.Diff(want[i], got); diff != "" { // also for stack traces
					t.Errorf("line %d (-want +got):\n%s", i+1, diff)
				}
			}
		})
	}
}

func TestConsoleFormat(t *testing.T) {
	want := regexp.MustCompile(`^\d\d:\d\d:\d\d\.\d{3}	INFO	recorded	\{"event_id": "klingai:1", "duration": "1\.5s"\}
\d\d:\d\d:\d\d\.\d{3}	WARN	retried	\{"attempt": 2, "error": "refused"\}
\d\d:\d\d:\d\d\.\d{3}	ERROR	given up
$`)
	if got := logged(t, "info", "console"); !want.MatchString(got) {
		t.Errorf("got\n%s", got)
	}
}

func TestOnlyConsoleFormatIsColoured(t *testing.T) {
	file, err := os.Create(filepath.Join(t.TempDir(), "log"))
	testenv.NoError(t, err)
	defer file.Close()
	for format, want := range map[string]bool{"console": true, "json": false, "auto": false} {
		var out bytes.Buffer
		log, err := process.NewLogger(process.LogConfig{Level: "info", Format: format, Coloured: true, File: file, Through: &out})
		testenv.NoError(t, err)
		log.Warn("retried")
		if got := strings.Contains(out.String(), "\x1b["); got != want || !strings.Contains(out.String(), "retried") {
			t.Errorf("%s: %q; want colours: %t", format, out.String(), want)
		}
	}
}

func TestUnknownLevelOrFormatIsAnError(t *testing.T) {
	for _, tt := range []struct{ level, format, want string }{
		{"loud", "json", `"loud"`},
		{"", "pretty", `"pretty"`},
		{"info", "", `""`},
	} {
		if _, err := process.NewLogger(process.LogConfig{Level: tt.level, Format: tt.format, File: os.Stderr}); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("NewLogger(%q, %q) = %v, want an error that names %s", tt.level, tt.format, err, tt.want)
		}
	}
}
