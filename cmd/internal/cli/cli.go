// Package cli is what both programs do the same way with their command lines:
// flags made from the settings, help, exit codes, the errors that a person reads,
// and the version.
package cli

import (
	"errors"
	"fmt"
	"io"
	"runtime"
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

// ErrUsage is matched by errors that end a command with ExitUsage.
var ErrUsage = errors.New("usage")

// Usagef returns an error with ExitUsage and the given text.
func Usagef(format string, args ...any) error {
	return usageError{fmt.Errorf(format, args...)}
}

type usageError struct{ error }

func (e usageError) Is(target error) bool { return target == ErrUsage }
func (e usageError) Unwrap() error        { return e.error }

// FlagError says what is wrong with a flag of fs, by pflag's error, as a usage error.
// command is what the user called, e.g. "klinghook send".
func FlagError(command string, fs *pflag.FlagSet, err error) error {
	var unknown *pflag.NotExistError
	if errors.As(err, &unknown) {
		var known []string
		fs.VisitAll(func(f *pflag.Flag) { known = append(known, f.Name) })
		if near, ok := config.Near(unknown.GetSpecifiedName(), known); ok {
			return Usagef("%w; did you mean --%s? `%s --help` lists the flags", err, near, command)
		}
	}
	var bad *pflag.InvalidValueError
	if !errors.As(err, &bad) {
		return Usagef("%w; `%s --help` lists the flags", err, command)
	}
	form := bad.GetFlag().Value.Type()
	words := map[string]string{
		"int": "a whole number", "uint64": "a whole number from 0", "float64": "a number", "bool": "true or false", "duration": "a time, such as 5s or 2m",
	}
	if w, ok := words[form]; ok {
		form = w
	}
	return Usagef("--%s is %q; it takes %s", bad.GetFlag().Name, bad.GetValue(), form)
}

// ExitCode returns the exit code that an error calls for.
func ExitCode(err error) int {
	var problems *config.Error
	switch {
	case err == nil:
		return ExitOK
	case errors.Is(err, ErrUsage), errors.As(err, &problems):
		return ExitUsage
	}
	return ExitFailure
}

// PrintError writes an error for a person.
func PrintError(w io.Writer, program string, err error) {
	fmt.Fprintf(w, "%s: %v\n", program, err)
}

// Version is what a build calls itself: the stamp that it was given, else what the
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

// VersionLine is what a program prints when it is asked for its version.
func VersionLine(program, stamp string) string {
	return fmt.Sprintf("%s %s %s/%s %s", program, Version(stamp), runtime.GOOS, runtime.GOARCH, runtime.Version())
}
