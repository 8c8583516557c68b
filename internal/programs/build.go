package programs

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// The programs.
const (
	Ingest    = "klinghook-ingest"
	Klinghook = "klinghook"
)

// Set is a folder with built programs.
type Set struct{ dir string }

// Build builds the programs into a temporary folder, as they are built for use
// whatever the test is built with. flags are more flags for go build. The caller
// removes the set.
func Build(ctx context.Context, flags ...string) (*Set, error) {
	dir, err := os.MkdirTemp("", "klinghook-programs-")
	if err != nil {
		return nil, fmt.Errorf("build programs: %w", err)
	}
	s := &Set{dir}
	args := append(append([]string{"build"}, flags...), "-o", dir+"/",
		"github.com/klinghook/klinghook/cmd/"+Ingest, "github.com/klinghook/klinghook/cmd/"+Klinghook)
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		s.Remove()
		return nil, fmt.Errorf("build programs: %w:\n%s", err, out)
	}
	return s, nil
}

// Path returns the path of a program.
func (s *Set) Path(name string) string { return filepath.Join(s.dir, name) }

// Remove removes the programs.
func (s *Set) Remove() { _ = os.RemoveAll(s.dir) } // what is left is in the temporary folder

// Run runs a command of klinghook to its end and returns what it prints.
func (s *Set) Run(ctx context.Context, settings map[string]string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, s.Path(Klinghook), args...)
	cmd.Env = Environment(settings)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("klinghook %s: %w: %s", strings.Join(args, " "), err, stderr.String())
	}
	return string(out), err
}

// Environment returns an environment that has the settings and nothing else that a
// program might take for one.
func Environment(settings map[string]string) []string {
	env := []string{"HOME=" + os.TempDir(), "PATH=" + os.Getenv("PATH"), "TMPDIR=" + os.TempDir()}
	for name, value := range settings {
		env = append(env, name+"="+value)
	}
	return env
}
