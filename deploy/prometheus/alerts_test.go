package prometheus

import (
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/klinghook/klinghook/internal/testenv"
)

// TestRulesPassPromtool has promtool check the alerts and run their tests.
func TestRulesPassPromtool(t *testing.T) {
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

// alerts returns the names of all alerts.
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

// TestAlertsHaveTests checks that alerts_test.yml has each alert, once quiet and once
// firing.
func TestAlertsHaveTests(t *testing.T) {
	quiet, loud, _ := strings.Cut(read(t, "alerts_test.yml"), "name: nothing runs")
	for _, name := range alerts(t) {
		word := regexp.MustCompile(`\b` + name + `\b`)
		if !word.MatchString(quiet) || !word.MatchString(loud) {
			t.Errorf("%s is not tested both quiet and firing", name)
		}
	}
}

// TestAlertsLinkToRunbook checks that each alert links to a heading of
// docs/operations.md.
func TestAlertsLinkToRunbook(t *testing.T) {
	rules, manual := read(t, "alerts.yml"), read(t, "../../docs/operations.md")
	var headings []string
	for _, match := range regexp.MustCompile(`(?m)^#+ (Klinghook\w+)$`).FindAllStringSubmatch(manual, -1) {
		headings = append(headings, match[1])
	}
	if names := alerts(t); !slices.Equal(headings, names) {
		t.Errorf("docs/operations.md has the headings %q, want %q", headings, names)
	}
	for _, name := range alerts(t) {
		if !strings.Contains(rules, "runbook: docs/operations.md#"+strings.ToLower(name)+"\n") {
			t.Errorf("%s does not link to its heading", name)
		}
	}
	for _, label := range regexp.MustCompile(`severity: (\w+)`).FindAllStringSubmatch(rules, -1) {
		if label[1] != "critical" && label[1] != "warning" {
			t.Errorf("unknown severity %s", label[1])
		}
	}
}
