package kubernetes

import (
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

// settings are the names in the README's table, which a test of klinghook's own holds
// against the programs.
func settings(t *testing.T) []string {
	t.Helper()
	readme, err := os.ReadFile("../../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(readme), "<!-- klinghook config --markdown -->")
	table, _, _ = strings.Cut(table, "<!-- end -->")
	var names []string
	for _, row := range regexp.MustCompile("(?m)^\\| `([A-Z_]+)`( \\(`…_FILE`\\))?").FindAllStringSubmatch(table, -1) {
		names = append(names, row[1])
		if row[2] != "" {
			names = append(names, row[1]+"_FILE")
		}
	}
	if len(names) < 30 {
		t.Fatalf("the README has the settings %q", names)
	}
	return names
}

// clouds are what libraries of clouds read.
func clouds() []string { return []string{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"} }

// TestSettings holds that whatever the processes are given is a setting, also in the
// comments of the example.
func TestSettings(t *testing.T) {
	known := append(settings(t), clouds()...)
	onEach(t, func(t *testing.T, m manifests) {
		for _, w := range workloads(m) {
			for name := range environment(t, m, w) {
				if !slices.Contains(known, name) {
					t.Errorf("%s is given %s, which is no setting", w, name)
				}
			}
		}
	})
	example, err := os.ReadFile("../secrets.example.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range regexp.MustCompile(`KLING[A-Z]+_[A-Z_]+`).FindAllString(string(example), -1) {
		if !slices.Contains(known, name) {
			t.Errorf("the example of Secrets has %s, which is no setting", name)
		}
	}
}

// TestIngestGetsItsOwnOnly holds that the process which strangers reach has nobody
// else's settings, by asking it which it has.
func TestIngestGetsItsOwnOnly(t *testing.T) {
	run := exec.CommandContext(t.Context(), "go", "run", "./cmd/klinghook-ingest", "--help")
	run.Dir = "../../.."
	run.Env = append(os.Environ(), "CGO_ENABLED=0")
	help, err := run.Output()
	if err != nil {
		t.Fatal(err)
	}
	onEach(t, func(t *testing.T, m manifests) {
		for name := range environment(t, m, workloadOf(t, m, "ingest")) {
			if !regexp.MustCompile(`\b` + name + `\b`).Match(help) {
				t.Errorf("ingest is given %s, which it does not know", name)
			}
		}
	})
}

// TestSecretsStayOutOfConfigMaps holds that what may hold a password is in a Secret.
func TestSecretsStayOutOfConfigMaps(t *testing.T) {
	names := settings(t)
	onEach(t, func(t *testing.T, m manifests) {
		for _, c := range of[*corev1.ConfigMap](m) {
			for name := range c.Data {
				if slices.Contains(names, name+"_FILE") {
					t.Errorf("ConfigMap %s has %s, which may be secret", c.Name, name)
				}
			}
		}
	})
}
