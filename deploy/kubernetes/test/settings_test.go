package kubernetes

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

// settings returns the names in the table of settings.
func settings(t *testing.T) []string {
	t.Helper()
	document, err := os.ReadFile("../../../docs/configuration.md")
	noError(t, err)
	_, table, _ := strings.Cut(string(document), "<!-- klinghook config --markdown -->")
	table, _, _ = strings.Cut(table, "<!-- end -->")
	var names []string
	for _, row := range regexp.MustCompile("(?m)^\\| `([A-Z_]+)`( \\(`…_FILE`\\))?").FindAllStringSubmatch(table, -1) {
		names = append(names, row[1])
		if row[2] != "" {
			names = append(names, row[1]+"_FILE")
		}
	}
	if len(names) < 30 {
		t.Fatalf("docs/configuration.md has only the settings %q", names)
	}
	return names
}

// clouds returns settings of cloud libraries.
func clouds() []string { return []string{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"} }

// TestEnvironmentHasOnlySettings also checks the comments of the example.
func TestEnvironmentHasOnlySettings(t *testing.T) {
	known := append(settings(t), clouds()...)
	onEach(t, func(t *testing.T, m manifests) {
		for _, w := range workloads(m) {
			for name := range environment(t, m, w) {
				if !slices.Contains(known, name) {
					t.Errorf("%s has unknown setting %s", w, name)
				}
			}
		}
	})
	example, err := os.ReadFile("../secrets.example.yaml")
	noError(t, err)
	for _, name := range regexp.MustCompile(`KLING[A-Z]+_[A-Z_]+`).FindAllString(string(example), -1) {
		if !slices.Contains(known, name) {
			t.Errorf("the example of Secrets has unknown setting %s", name)
		}
	}
}

func TestSecretsStayOutOfConfigMaps(t *testing.T) {
	names := settings(t)
	onEach(t, func(t *testing.T, m manifests) {
		for _, c := range of[*corev1.ConfigMap](m) {
			for name := range c.Data {
				if slices.Contains(names, name+"_FILE") {
					t.Errorf("ConfigMap %s has %s, which may be a secret", c.Name, name)
				}
			}
		}
	})
}
