package prometheus

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klinghook/klinghook/internal/testenv"
)

// TestDashboardQueriesAreValid has promtool check each query of the dashboards as a
// recording rule.
func TestDashboardQueriesAreValid(t *testing.T) {
	promtool := testenv.Promtool(t)
	paths, err := filepath.Glob("../grafana/dashboards/*.json")
	if err != nil || len(paths) == 0 {
		t.Fatalf("dashboards %q, %v", paths, err)
	}
	for _, path := range paths {
		var dashboard struct {
			Panels []struct {
				Title, Type string
				Targets     []struct{ Expr string }
			}
		}
		if err := json.Unmarshal([]byte(read(t, path)), &dashboard); err != nil {
			t.Fatal(err)
		}
		rules := strings.Builder{}
		rules.WriteString("groups:\n- name: dashboard\n  rules:\n")
		for _, panel := range dashboard.Panels {
			if panel.Type != "row" && len(panel.Targets) == 0 {
				t.Errorf("%s: %q has no query", path, panel.Title)
			}
			for i, target := range panel.Targets {
				expr := strings.ReplaceAll(target.Expr, "$__rate_interval", "1m")
				fmt.Fprintf(&rules, "  - {record: panel, expr: %q, labels: {title: %q, nth: \"%d\"}}\n", expr, panel.Title, i)
			}
		}
		file := filepath.Join(t.TempDir(), "rules.yml")
		if err := os.WriteFile(file, []byte(rules.String()), 0o600); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.CommandContext(t.Context(), promtool, "check", "rules", file).CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", path, err, out)
		}
	}
}
