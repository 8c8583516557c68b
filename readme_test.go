package klinghook_test

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// TestREADMEListsTheSettings holds the README's table against the settings there
// are.
func TestREADMEListsTheSettings(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, begins := strings.Cut(string(readme), "<!-- klinghook config --markdown -->\n")
	table, _, ends := strings.Cut(rest, "<!-- end -->")
	if !begins || !ends {
		t.Fatal("README.md has no table of settings between its two marks")
	}
	command := exec.CommandContext(t.Context(), "go", "run", "./cmd/klinghook", "config", "--markdown")
	command.Env = append(os.Environ(), "CGO_ENABLED=0")
	want, err := command.Output()
	if err != nil {
		t.Fatal(err)
	}
	if strings.TrimSpace(table) != strings.TrimSpace(string(want)) {
		t.Errorf("README.md's table of settings is not what `klinghook config --markdown` prints:\n%s", want)
	}
}
