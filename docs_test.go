package klinghook_test

import (
	"os"
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
