// Package cli has the code that the commands of both programs share: flags for the
// settings, exit codes, listeners with advice, the health check, and the terminal.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/klinghook/klinghook/config"
)

// The exit codes of all commands.
const (
	ExitOK       = 0
	ExitFailure  = 1
	ExitUsage    = 2 // wrong command line or settings: retrying does not help
	ExitNotFound = 3
)

type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// Usagef returns an error with ExitUsage.
func Usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// secretFlag matches cobra's error for a flag whose value would be a secret.
var secretFlag = regexp.MustCompile(`^unknown flag: --.*(?:secret|key|token|password|urls)`)

// Execute runs the command that the arguments name, without proxies for outgoing
// requests. An error before the command runs is a usage error.
func Execute(ctx context.Context, root *cobra.Command) error {
	// The cloud SDKs read this too. The download guard cannot see where a proxy connects.
	if err := os.Setenv("NO_PROXY", "*"); err != nil {
		return err
	}
	root.SilenceErrors, root.SilenceUsage = true, true
	root.SetContext(ctx)
	running := false
	watchRuns(root, &running)
	cmd, err := root.ExecuteC()
	if err != nil && !running {
		if secretFlag.MatchString(err.Error()) {
			err = fmt.Errorf("%w; a secret has no flag, because other users of this machine can read arguments: set the variable, or name a file with the flag that ends in -file", err)
		}
		return Usagef("%w\nRun '%s --help' for usage.", err, cmd.CommandPath())
	}
	return err
}

// watchRuns makes every command set running when it runs.
func watchRuns(cmd *cobra.Command, running *bool) {
	if run := cmd.RunE; run != nil {
		cmd.RunE = func(cmd *cobra.Command, args []string) error {
			*running = true
			return run(cmd, args)
		}
	}
	for _, c := range cmd.Commands() {
		watchRuns(c, running)
	}
}

// ExitCode returns the exit code for an error.
func ExitCode(err error) int {
	var usage usageError
	var settings *config.Error
	switch {
	case err == nil:
		return ExitOK
	case errors.As(err, &usage), errors.As(err, &settings):
		return ExitUsage
	}
	return ExitFailure
}

// PrintError writes an error for a person.
func PrintError(w io.Writer, program string, err error) {
	fmt.Fprintf(w, "%s: %v\n", program, err)
}

// Version returns the version stamped into the build, else the commit that the Go
// toolchain recorded.
func Version(stamp string) string {
	if stamp != "" {
		return stamp
	}
	info, _ := debug.ReadBuildInfo()
	if info != nil {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" && len(s.Value) >= 12 {
				return "devel-" + s.Value[:12]
			}
		}
	}
	return "devel"
}

// VersionLine returns the version with the platform and the version of Go.
func VersionLine(stamp string) string {
	return fmt.Sprintf("%s %s/%s %s", Version(stamp), runtime.GOOS, runtime.GOARCH, runtime.Version())
}
