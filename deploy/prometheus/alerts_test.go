package prometheus

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/klinghook/klinghook/internal/testenv"
)

// TestRules has promtool check the alerts, and set each of them off.
func TestRules(t *testing.T) {
	promtool := testenv.Promtool(t)
	for _, args := range [][]string{{"check", "rules", "alerts.yml"}, {"test", "rules", "alerts_test.yml"}} {
		out, err := exec.CommandContext(t.Context(), promtool, args...).CombinedOutput()
		if err != nil {
			t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
}

// read returns a file.
func read(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// alerts are the names of all alerts.
func alerts(t *testing.T) []string {
	t.Helper()
	var names []string
	for _, match := range regexp.MustCompile(`(?m)^ +- alert: (\w+)$`).FindAllStringSubmatch(read(t, "alerts.yml"), -1) {
		names = append(names, match[1])
	}
	if len(names) < 10 {
		t.Fatalf("the alerts are %q", names)
	}
	return names
}

// TestAlertsAreTried holds that alerts_test.yml has each alert, once quiet and once
// firing.
func TestAlertsAreTried(t *testing.T) {
	quiet, loud, _ := strings.Cut(read(t, "alerts_test.yml"), "name: nothing runs")
	for _, name := range alerts(t) {
		word := regexp.MustCompile(`\b` + name + `\b`)
		if !word.MatchString(quiet) || !word.MatchString(loud) {
			t.Errorf("%s is not tried both quiet and firing", name)
		}
	}
}

// TestRunbook holds that each alert leads to a heading of the manual, which has no
// others of the sort.
func TestRunbook(t *testing.T) {
	rules, manual := read(t, "alerts.yml"), read(t, "../../docs/OPERATIONS.md")
	var headings []string
	for _, match := range regexp.MustCompile(`(?m)^#+ (Klinghook\w+)$`).FindAllStringSubmatch(manual, -1) {
		headings = append(headings, match[1])
	}
	if names := alerts(t); !slices.Equal(headings, names) {
		t.Errorf("the manual tells of %q, and the alerts are %q", headings, names)
	}
	for _, name := range alerts(t) {
		if !strings.Contains(rules, "runbook: docs/OPERATIONS.md#"+strings.ToLower(name)+"\n") {
			t.Errorf("%s does not lead to its heading", name)
		}
	}
	for _, label := range regexp.MustCompile(`severity: (\w+)`).FindAllStringSubmatch(rules, -1) {
		if label[1] != "critical" && label[1] != "warning" {
			t.Errorf("severity %s means nothing to anybody", label[1])
		}
	}
}

// TestMetricsExist holds that the alerts go by metrics that the code has: one of a name
// that there is no more would be quiet for ever.
func TestMetricsExist(t *testing.T) {
	var names []string
	quoted := regexp.MustCompile(`"(klinghook_[a-z_]+)"`)
	err := filepath.WalkDir("../..", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		for _, match := range quoted.FindAllStringSubmatch(read(t, path), -1) {
			names = append(names, match[1])
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range regexp.MustCompile(`klinghook_[a-z_]+`).FindAllString(read(t, "alerts.yml"), -1) {
		if !slices.Contains(names, strings.TrimSuffix(name, "_bucket")) {
			t.Errorf("the alerts go by %s, which is no metric", name)
		}
	}
}
