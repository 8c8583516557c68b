package e2e

import (
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"github.com/klinghook/klinghook/internal/testenv"
)

// TestMetricsAreDocumented compares the metrics of every process with the naming
// conventions and docs/metrics.md, and dashboards and alert rules with the metrics.
func TestMetricsAreDocumented(t *testing.T) {
	w := newFleet(t, "")
	base, ingest, worker := w.startAll()
	processes := map[string]string{
		"ingest": ingest.address("metrics"),
		"worker": worker.address("metrics"),
		"admin":  w.start(klinghook, "admin").address("admin"),
	}
	w.accept(base, completedWith("vid_1", w.media.link("vid_1.mp4")))
	w.awaitJob("vid_1", "video stored")

	docs := documentedMetrics(t)
	exported := map[string]bool{}
	for process, addr := range processes {
		families := scrape(t, "http://"+addr+"/metrics", exported)
		for name, labels := range families {
			if !strings.HasPrefix(name, "klinghook_") {
				continue
			}
			doc, ok := docs[name]
			if !ok || !slices.Contains(doc.from, process) {
				t.Errorf("docs/metrics.md does not say that %s exports %s", process, name)
			}
			if !slices.Equal(labels, doc.labels) {
				t.Errorf("docs/metrics.md has labels %q for %s of %s, want %q", doc.labels, name, process, labels)
			}
		}
		for name, doc := range docs {
			if _, ok := families[name]; !ok && slices.Contains(doc.from, process) {
				t.Errorf("docs/metrics.md has %s of %s, which does not export it", name, process)
			}
		}
	}
	checkUses(t, exported)
}

// documented is the documentation of one metric.
type documented struct{ labels, from []string }

func documentedMetrics(t *testing.T) map[string]documented {
	t.Helper()
	text, err := os.ReadFile("../../docs/metrics.md")
	testenv.NoError(t, err)
	list := map[string]documented{}
	for _, row := range regexp.MustCompile("(?m)^\\| `(klinghook_[a-z_]+)` \\|([^|]*)\\|([^|]*)\\|").FindAllStringSubmatch(string(text), -1) {
		split := func(cell string) []string {
			return strings.FieldsFunc(cell, func(r rune) bool { return r == ' ' || r == ',' })
		}
		m := documented{labels: split(row[2]), from: split(row[3])}
		if slices.Equal(m.from, []string{"all"}) {
			m.from = []string{"ingest", "worker", "admin"}
		}
		slices.Sort(m.labels)
		list[row[1]] = m
	}
	return list
}

var (
	metricType = regexp.MustCompile(`^# TYPE (\w+) `)
	sample     = regexp.MustCompile(`^(\w+)(?:\{(.*)\})? \S+$`)
	labelName  = regexp.MustCompile(`(\w+)="(?:[^"\\]|\\.)*"`)
)

// scrape returns a process's metrics with the names of their labels, and checks names
// and help texts against Prometheus's conventions. It adds every exported name.
func scrape(t *testing.T, url string, exported map[string]bool) map[string][]string {
	t.Helper()
	status, text, err := get(t.Context(), url)
	if err != nil || status != http.StatusOK {
		t.Fatalf("%s answers %d, %v:\n%s", url, status, err, text)
	}
	problems, err := promlint.New(strings.NewReader(text)).Lint()
	testenv.NoError(t, err)
	for _, p := range problems {
		t.Errorf("%s: %s: %s", url, p.Metric, p.Text)
	}
	families := map[string][]string{}
	var family string
	for line := range strings.Lines(text) {
		if match := metricType.FindStringSubmatch(line); match != nil {
			family = match[1]
			exported[family] = true
		}
		match := sample.FindStringSubmatch(strings.TrimSuffix(line, "\n"))
		if match == nil {
			continue
		}
		exported[match[1]] = true
		labels := []string{}
		for _, label := range labelName.FindAllStringSubmatch(match[2], -1) {
			if label[1] != "le" && label[1] != "quantile" { // of histograms and summaries
				labels = append(labels, label[1])
			}
		}
		slices.Sort(labels)
		if known, ok := families[family]; ok && !slices.Equal(known, labels) {
			t.Errorf("%s has labels %q and %q", family, known, labels)
		}
		families[family] = labels
	}
	return families
}

// checkUses checks that dashboards and rules use only exported metrics.
func checkUses(t *testing.T, exported map[string]bool) {
	t.Helper()
	dashboards, err := filepath.Glob("../../deploy/grafana/dashboards/*.json")
	if err != nil || len(dashboards) == 0 {
		t.Fatalf("no dashboard, %v", err)
	}
	rules, err := filepath.Glob("../../deploy/prometheus/*.y*ml")
	testenv.NoError(t, err)
	used := map[string]string{}
	for _, path := range append(dashboards, rules...) {
		text, err := os.ReadFile(path)
		testenv.NoError(t, err)
		for _, name := range regexp.MustCompile(`\b(?:klinghook|process|go)_[a-z0-9_]+\b`).FindAllString(string(text), -1) {
			used[name] = path
		}
	}
	for _, name := range slices.Sorted(maps.Keys(used)) {
		if !exported[name] {
			t.Errorf("%s uses %s, which no process exports", used[name], name)
		}
	}
}
