package klinghook_test

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// TestConfigurationListsTheSettings compares docs/configuration.md's tables with the settings.
func TestConfigurationListsTheSettings(t *testing.T) {
	document, err := os.ReadFile("docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, begins := strings.Cut(string(document), "<!-- klinghook config --markdown -->\n")
	table, _, ends := strings.Cut(rest, "<!-- end -->")
	if !begins || !ends {
		t.Fatal("docs/configuration.md has no settings between its marks")
	}
	want := run(t, "run", "./cmd/klinghook", "config", "--markdown")
	if strings.TrimSpace(table) != strings.TrimSpace(want) {
		t.Errorf("docs/configuration.md's settings are not what `klinghook config --markdown` prints:\n%s", want)
	}
}

func TestImagesAndModulesHaveOneGoVersion(t *testing.T) {
	version := regexp.MustCompile(`(?m)^(?:go |ARG GO_VERSION=)([0-9.]+)$`)
	found := map[string]string{}
	for _, path := range []string{"go.mod", "bench/go.mod", "deploy/compose/go.mod", "deploy/kubernetes/test/go.mod", "deploy/Dockerfile"} {
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		match := version.FindSubmatch(content)
		if match == nil {
			t.Fatalf("%s has no version of Go", path)
		}
		found[string(match[1])] = path
	}
	if len(found) != 1 {
		t.Errorf("different versions of Go: %v", found)
	}
}
