package results

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/klinghook/klinghook/bench/internal/stats"
)

func TestWriteAndRead(t *testing.T) {
	// A fresh checkout has no folder for results.
	path := filepath.Join(t.TempDir(), "results", "full.json")
	if none, err := Read(path); err != nil || none.Saturation != nil {
		t.Fatalf("where there is no file, Read = %+v, %v; want no results", none, err)
	}
	want := &Results{
		Saturation: &Saturation{Stamp: Stamp{Commit: "abc", Plan: "full"}, Connections: 64, Settings: []Setting{{
			Name:       Everysec,
			Contenders: []Contender{{Name: "one", Rounds: []Round{{Rate: 1.5, P99Sent: 2}}, Curve: []stats.Point{{Percentile: 50, Ms: 1}}}},
		}}},
		Idle: &Idle{Commands: map[string]int{"evalsha": 3}},
	}
	if err := want.Write(path); err != nil {
		t.Fatal(err)
	}
	got, err := Read(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("what was read is not what was written (-want +got):\n%s", diff)
	}
}

func TestReadTellsWhatToDoAboutADamagedFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "full.json")
	if err := os.WriteFile(path, []byte(`{"saturation":`), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(path); err == nil || !strings.Contains(err.Error(), "delete it") {
		t.Errorf("error = %v, want one that says what to do", err)
	}
}

func TestWhatIsMissingIsEmpty(t *testing.T) {
	var none *Saturation
	if c := none.Setting(Everysec).Contender("one"); c.Name != "one" || c.Summary(func(r Round) float64 { return r.Rate }).Rounds != 0 {
		t.Errorf("of no saturation, one = %+v", c)
	}
	var drain *Drain
	if row := drain.Row(RowLoopback); row.Name != RowLoopback || row.Rates != nil {
		t.Errorf("of no drain, a row = %+v", row)
	}
}
