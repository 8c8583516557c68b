package e2e

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// TestMetrics has every process do something, and holds what each exports against
// the naming conventions and against what docs/METRICS.md says; then the dashboard
// and the alert rules against what is exported.
func TestMetrics(t *testing.T) {
	w := newWorld(t)
	settings, _, cdn := plant(t, w, func(rw http.ResponseWriter, r *http.Request) { _, _ = rw.Write(file(r.URL.Path)) })
	ingest := start(t, "klinghook-ingest", settings)
	processes := map[string]string{
		"ingest": ingest.Address("admin"),
		"worker": start(t, "klinghook", settings, "worker").Address("admin"),
		"admin":  start(t, "klinghook", settings, "admin").Address("admin"),
	}
	w.post("http://"+ingest.Address("webhooks"), w.completedFrom("vid_1", cdn+"/vid_1.mp4"))
	eventually(t, "the video", func() (bool, string) {
		shown, err := showJob(t, settings, "vid_1")
		return err == nil && strings.Contains(shown.summary(), "video stored"), fmt.Sprint(shown.summary(), err)
	})

	documented := documentedMetrics(t)
	exported := map[string]bool{}
	for process, addr := range processes {
		families := scrape(t, "http://"+addr+"/metrics")
		for name, family := range families {
			exported[name] = true
			for _, suffix := range map[dto.MetricType][]string{dto.MetricType_HISTOGRAM: {"_bucket", "_sum", "_count"}}[family.GetType()] {
				exported[name+suffix] = true
			}
			if !strings.HasPrefix(name, "klinghook_") {
				continue
			}
			doc, ok := documented[name]
			if !ok || !slices.Contains(doc.from, process) {
				t.Errorf("docs/METRICS.md does not say that %s exports %s", process, name)
			}
			for _, m := range family.GetMetric() {
				if got := labelNames(m); !slices.Equal(got, doc.labels) {
					t.Errorf("docs/METRICS.md has the labels %q for %s of %s, which has %q", doc.labels, name, process, got)
					break
				}
			}
		}
		for name, doc := range documented {
			if _, ok := families[name]; !ok && slices.Contains(doc.from, process) {
				t.Errorf("docs/METRICS.md has %s from %s, which does not export it", name, process)
			}
		}
	}
	checkUses(t, exported)
}

// metric is what the documentation says of one.
type metric struct{ labels, from []string }

func documentedMetrics(t *testing.T) map[string]metric {
	t.Helper()
	text, err := os.ReadFile("../../docs/METRICS.md")
	if err != nil {
		t.Fatal(err)
	}
	list := map[string]metric{}
	for _, row := range regexp.MustCompile("(?m)^\\| `(klinghook_[a-z_]+)` \\|([^|]*)\\|([^|]*)\\|").FindAllStringSubmatch(string(text), -1) {
		split := func(cell string) []string {
			return strings.FieldsFunc(cell, func(r rune) bool { return r == ' ' || r == ',' })
		}
		m := metric{labels: split(row[2]), from: split(row[3])}
		if slices.Equal(m.from, []string{"all"}) {
			m.from = []string{"ingest", "worker", "admin"}
		}
		slices.Sort(m.labels)
		list[row[1]] = m
	}
	return list
}

func labelNames(m *dto.Metric) []string {
	names := []string{}
	for _, label := range m.GetLabel() {
		names = append(names, label.GetName())
	}
	slices.Sort(names)
	return names
}

// scrape returns what a process exports, and complains of names and helps that are
// against Prometheus's conventions.
func scrape(t *testing.T, url string) map[string]*dto.MetricFamily {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("%s answers %s, %v:\n%s", url, res.Status, err, text)
	}
	problems, err := promlint.New(bytes.NewReader(text)).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s: %s", url, p.Metric, p.Text)
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return families
}

// checkUses holds that the dashboards and the rules ask for nothing that no process
// exports.
func checkUses(t *testing.T, exported map[string]bool) {
	t.Helper()
	dashboards, err := filepath.Glob("../../deploy/grafana/dashboards/*.json")
	if err != nil || len(dashboards) == 0 {
		t.Fatalf("no dashboard, %v", err)
	}
	rules, err := filepath.Glob("../../deploy/prometheus/*.y*ml")
	if err != nil {
		t.Fatal(err)
	}
	used := map[string]string{}
	for _, path := range append(dashboards, rules...) {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range regexp.MustCompile(`\b(?:klinghook|process|go)_[a-z0-9_]+\b`).FindAllString(string(text), -1) {
			used[name] = path
		}
	}
	for _, name := range slices.Sorted(maps.Keys(used)) {
		if !exported[name] {
			t.Errorf("%s asks for %s, which no process exports", used[name], name)
		}
	}
}
