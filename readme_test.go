package klinghook_test

import (
	"os"
	"strings"
	"testing"
)

// TestREADMEListsTheSettings compares README.md's table with the settings.
func TestREADMEListsTheSettings(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, begins := strings.Cut(string(readme), "<!-- klinghook config --markdown -->\n")
	table, _, ends := strings.Cut(rest, "<!-- end -->")
	if !begins || !ends {
		t.Fatal("README.md has no table of settings between its marks")
	}
	want := run(t, "run", "./cmd/klinghook", "config", "--markdown")
	if strings.TrimSpace(table) != strings.TrimSpace(want) {
		t.Errorf("README.md's table of settings is not what `klinghook config --markdown` prints:\n%s", want)
	}
}
