package prometheus

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/klinghook/klinghook/internal/testenv"
)

func read(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// TestPromtoolAccepts checks the alerts with their tests, and each query of the
// dashboard as a recording rule.
func TestPromtoolAccepts(t *testing.T) {
	promtool := testenv.Promtool(t)
	var dashboard struct {
		Panels []struct {
			Title, Type string
			Targets     []struct{ Expr string }
		}
	}
	if err := json.Unmarshal([]byte(read(t, "../grafana/dashboards/klinghook.json")), &dashboard); err != nil {
		t.Fatal(err)
	}
	rules := "groups:\n- name: dashboard\n  rules:\n"
	for _, panel := range dashboard.Panels {
		if panel.Type != "row" && len(panel.Targets) == 0 {
			t.Errorf("%q has no query", panel.Title)
		}
		for i, target := range panel.Targets {
			expr := regexp.MustCompile(`\$__(rate_interval|range)`).ReplaceAllString(target.Expr, "1m")
			rules += fmt.Sprintf("  - {record: panel, expr: %q, labels: {title: %q, nth: \"%d\"}}\n", expr, panel.Title, i)
		}
	}
	queries := filepath.Join(t.TempDir(), "queries.yml")
	if err := os.WriteFile(queries, []byte(rules), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"check", "rules", "alerts.yml"}, {"test", "rules", "alerts_test.yml"}, {"check", "rules", queries}} {
		out, err := exec.CommandContext(t.Context(), promtool, args...).CombinedOutput()
		if err != nil {
			t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
}

// TestAlertsAreTestedAndDescribed checks that alerts_test.yml has each alert, once quiet
// and once firing, and that each links to its heading in docs/operations.md.
func TestAlertsAreTestedAndDescribed(t *testing.T) {
	rules := read(t, "alerts.yml")
	quiet, loud, _ := strings.Cut(read(t, "alerts_test.yml"), "name: nothing runs")
	var names, headings []string
	for _, match := range regexp.MustCompile(`(?m)^#+ (Klinghook\w+)$`).FindAllStringSubmatch(read(t, "../../docs/operations.md"), -1) {
		headings = append(headings, match[1])
	}
	for _, match := range regexp.MustCompile(`(?m)^ +- alert: (\w+)$`).FindAllStringSubmatch(rules, -1) {
		name := match[1]
		names = append(names, name)
		word := regexp.MustCompile(`\b` + name + `\b`)
		if !word.MatchString(quiet) || !word.MatchString(loud) {
			t.Errorf("%s is not tested both quiet and firing", name)
		}
		if !strings.Contains(rules, "runbook: docs/operations.md#"+strings.ToLower(name)+"\n") {
			t.Errorf("%s does not link to its heading", name)
		}
	}
	if len(names) == 0 || !slices.Equal(headings, names) {
		t.Errorf("docs/operations.md has the headings %q, want %q", headings, names)
	}
}
