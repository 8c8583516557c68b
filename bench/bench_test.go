package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestRequestsDifferButHaveTheSameLength(t *testing.T) {
	path := filepath.Join(t.TempDir(), "requests")
	r, err := writeRequests(path, 11)
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if len(text) != r.count*r.length {
		t.Errorf("file has %d bytes, want %d requests of %d", len(text), r.count, r.length)
	}
	if string(body(1)) == string(body(10)) || len(body(1)) != 550 || !json.Valid(body(1)) {
		t.Errorf("bodies are %s and %s, want different JSON of 550 bytes", body(1), body(10))
	}
}

func TestReadWrkRefusesFailedRequests(t *testing.T) {
	for _, tt := range []struct {
		name, out string
		want      bool
	}{
		{"all answered", "\nresult {\"requests\":9,\"us\":1000,\"errors\":0}\n", true},
		{"one failed", "\nresult {\"requests\":9,\"us\":1000,\"errors\":1}\n", false},
		{"none answered", "\nresult {\"requests\":0,\"us\":1000,\"errors\":0}\n", false},
		{"no result", "unable to connect\n", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if r, err := readWrk([]byte(tt.out)); (err == nil) != tt.want {
				t.Errorf("readWrk = %+v, %v", r, err)
			}
		})
	}
}

func TestTableComparesWithinRounds(t *testing.T) {
	r := results{samples: make(map[row][]sample)}
	for _, rates := range [][2]float64{{100, 200}, {1000, 3000}, {50, 200}} {
		r.add(row{plainEcho, near, 64}, sample{rate: rates[0], p50: 2})
		r.add(row{klinghook, near, 64}, sample{rate: rates[1], p99: 7, idleMiB: 15.5})
	}
	_, got, _ := strings.Cut(r.table(), "---: |\n")
	want := `| plain Echo + asynq | near | 64 | 100 (50 to 1000) | – | 2.00 | – | – |
| klinghook-ingest | near | 64 | 200 (200 to 3000) | 3.00 | – | 7.00 | 15.5 |
`
	if got != want {
		t.Errorf("rows are\n%swant\n%s", got, want)
	}
}

func TestDocumentKeepsWhatIsOutsideTheMarks(t *testing.T) {
	path := filepath.Join(t.TempDir(), "doc.md")
	if err := os.WriteFile(path, []byte("a\n<!-- bench -->\nold\n<!-- bench:end -->\nb\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := updateDocument(path, "new\n"); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(path)
	if want := "a\n<!-- bench -->\n\nnew\n\n<!-- bench:end -->\nb\n"; err != nil || string(got) != want {
		t.Errorf("document is %q, %v, want %q", got, err, want)
	}
	if err := updateDocument(filepath.Join(t.TempDir(), "none"), ""); err == nil {
		t.Error("a document that does not exist was updated")
	}
}
