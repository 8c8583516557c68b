// Package cli is what both programs do the same way with their command lines:
// flags made from the settings, exit codes, and the version.
package cli

import (
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"slices"

	"github.com/spf13/pflag"

	"github.com/klinghook/klinghook/config"
)

// The exit codes, the same for every command.
const (
	// ExitOK says that what was asked is done.
	ExitOK = 0
	// ExitFailure says that it was tried and did not work.
	ExitFailure = 1
	// ExitUsage says that the command line or the settings are wrong: trying
	// again without changing them is no use.
	ExitUsage = 2
	// ExitNotFound says that what was named does not exist.
	ExitNotFound = 3
)

// UsageError is matched by errors that end a command with ExitUsage.
var UsageError = errors.New("usage")

// Usagef returns an error with ExitUsage and the given text.
func Usagef(format string, args ...any) error {
	return usageError{fmt.Errorf(format, args...)}
}

type usageError struct{ error }

func (e usageError) Is(target error) bool { return target == UsageError }
func (e usageError) Unwrap() error        { return e.error }

// ExitCode returns the exit code that an error calls for.
func ExitCode(err error) int {
	var problems *config.Error
	switch {
	case err == nil:
		return ExitOK
	case errors.Is(err, UsageError), errors.As(err, &problems):
		return ExitUsage
	}
	return ExitFailure
}

// AddFlags adds a flag for each of the settings that the role uses and that fs
// does not have yet.
func AddFlags(fs *pflag.FlagSet, role config.Role) {
	for _, s := range config.Settings() {
		if !s.UsedBy(role) {
			continue
		}
		if s.HasFlag() {
			fs.String(s.Flag, "", fmt.Sprintf("%s [$%s]%s", s.Meaning, s.Name, defaultNote(s.Default)))
		}
		if s.HasFile() {
			fs.String(s.FileFlag(), "", fmt.Sprintf("file that holds $%s [$%s]", s.Name, s.FileName()))
		}
	}
}

func defaultNote(value string) string {
	if value == "" {
		return ""
	}
	return " (default " + value + ")"
}

// Load reads the settings of a role from environ under the flags of fs that were
// given.
func Load(role config.Role, environ []string, fs *pflag.FlagSet) (*config.Config, error) {
	overrides := make(map[string]string)
	for _, s := range config.Settings() {
		for flag, variable := range map[string]string{s.Flag: s.Name, s.FileFlag(): s.FileName()} {
			if f := fs.Lookup(flag); f != nil && f.Changed {
				overrides[variable] = f.Value.String()
			}
		}
	}
	return config.Load(role, environ, overrides)
}

// Version is what a program calls itself: the stamp of its build, else what the
// Go toolchain recorded.
func Version(stamp string) string {
	if stamp != "" {
		return stamp
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	at := slices.IndexFunc(info.Settings, func(s debug.BuildSetting) bool { return s.Key == "vcs.revision" })
	if at >= 0 && len(info.Settings[at].Value) >= 12 {
		return "devel-" + info.Settings[at].Value[:12]
	}
	return "devel"
}

// PrintError writes an error for a person.
func PrintError(w io.Writer, program string, err error) {
	fmt.Fprintf(w, "%s: %v\n", program, err)
}
