package notify

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func TestBodyMatchesGoldenFiles(t *testing.T) {
	tests := []struct {
		name string
		m    Message
	}{
		{"full", testMessage()},
		{"minimal", Message{ID: "m1", Type: "account.changed", At: time.Date(2025, 1, 15, 10, 30, 0, 0, time.UTC)}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			body, err := tt.m.body()
			if err != nil {
				t.Fatal(err)
			}
			var indented bytes.Buffer
			if err := json.Indent(&indented, body, "", "  "); err != nil {
				t.Fatal(err)
			}
			indented.WriteByte('\n')
			file := filepath.Join("testdata", tt.name+".json")
			if *update {
				if err := os.WriteFile(file, indented.Bytes(), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), indented.String()); diff != "" {
				t.Errorf("the contract changed (-golden +now):\n%s", diff)
			}
		})
	}
}

func TestEqualMessagesHaveEqualBodies(t *testing.T) {
	m := testMessage()
	elsewhere := testMessage()
	zone := time.FixedZone("CST", 8*60*60)
	elsewhere.At = m.At.In(zone)
	elsewhere.Job.CreatedAt = m.Job.CreatedAt.In(zone)
	elsewhere.Job.FinishedAt = m.Job.FinishedAt.In(zone)
	first, err1 := m.body()
	second, err2 := elsewhere.body()
	if diff := cmp.Diff(string(first), string(second)); diff != "" || err1 != nil || err2 != nil {
		t.Errorf("%v, %v; the same times in another zone differ:\n%s", err1, err2, diff)
	}
}
