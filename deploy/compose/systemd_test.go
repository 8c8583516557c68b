package compose

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestUnitsAreValidAndRestricted has systemd check the units in deploy/systemd.
func TestUnitsAreValidAndRestricted(t *testing.T) {
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		t.Skip("systemd-analyze is not installed (Debian: apt-get install systemd)")
	}
	units, err := filepath.Glob(filepath.Join(root, "deploy", "systemd", "*.service"))
	if err != nil || len(units) == 0 {
		t.Fatalf("found %d units, %v", len(units), err)
	}
	// The programs need not be installed here.
	program := regexp.MustCompile(`(?m)^ExecStart=/usr/local/bin/klinghook(-ingest)?\b`)
	dir := t.TempDir()
	for _, unit := range units {
		content := read(t, filepath.Join("deploy", "systemd", filepath.Base(unit)))
		path := filepath.Join(dir, strings.Replace(filepath.Base(unit), "@.", "@1.", 1))
		if err := os.WriteFile(path, []byte(program.ReplaceAllString(content, "ExecStart=/bin/true")), 0o600); err != nil {
			t.Fatal(err)
		}
		if !program.MatchString(content) {
			t.Errorf("%s starts none of our programs", unit)
		}
	}
	copies, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range copies {
		out, err := exec.CommandContext(t.Context(), "systemd-analyze", "verify", path).CombinedOutput()
		// It also reports problems of this machine's units.
		if err != nil || strings.Contains(string(out), filepath.Base(path)) {
			t.Errorf("systemd-analyze verify %s: %v\n%s", path, err, out)
		}
		// In tenths: 100 is the most exposed.
		out, err = exec.CommandContext(t.Context(), "systemd-analyze", "security", "--offline=true", "--threshold=15", path).CombinedOutput()
		if err != nil {
			t.Errorf("%s is too exposed: %v\n%s", path, err, out)
		}
	}
}
