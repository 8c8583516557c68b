package cli

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"github.com/klinghook/klinghook/config"
)

// settingAnnotation marks the flags that AddFlags makes; its values are the
// setting's name and its default as the help shows it.
const settingAnnotation = "klinghook_setting"

// AddFlags adds a flag for each setting that the role uses; with names, only for
// those settings.
func AddFlags(fs *pflag.FlagSet, role config.Role, names ...string) {
	for _, s := range config.Settings() {
		if !s.UsedBy(role) || (len(names) > 0 && !slices.Contains(names, s.Name)) {
			continue
		}
		if s.HasFlag() {
			addFlag(fs, s.Flag, s.Meaning, s, role)
		}
		if s.HasFile() {
			addFlag(fs, s.FileFlag(), "file that holds "+s.Name, s, role)
		}
	}
}

func addFlag(fs *pflag.FlagSet, flag, usage string, s config.Setting, role config.Role) {
	value := s.Default
	if role == config.Dev && s.Name == "KLINGHOOK_REDIS_URL" {
		value = "the embedded one" // the one default that a role changes
	}
	fs.String(flag, "", usage)
	if s.IsSwitch() {
		fs.Lookup(flag).NoOptDefVal = "true"
	}
	fs.Lookup(flag).Annotations = map[string][]string{settingAnnotation: {s.Name, value}}
}

// FileFlags returns the flags of AddFlags in fs whose value is a file, and those
// whose value is a directory.
func FileFlags(fs *pflag.FlagSet) (files, dirs []string) {
	for _, s := range config.Settings() {
		if s.HasFile() && isSetting(fs.Lookup(s.FileFlag())) {
			files = append(files, s.FileFlag())
		}
	}
	for _, dir := range []string{"data", "spool-dir"} {
		if isSetting(fs.Lookup(dir)) {
			dirs = append(dirs, dir)
		}
	}
	return files, dirs
}

func isSetting(f *pflag.Flag) bool {
	return f != nil && f.Annotations[settingAnnotation] != nil
}

// Load reads the settings of a role from environ under the flags of fs that were
// given.
func Load(role config.Role, environ []string, fs *pflag.FlagSet, checks ...config.Check) (*config.Config, error) {
	overrides := make(map[string]string)
	for _, s := range config.Settings() {
		for flag, variable := range map[string]string{s.Flag: s.Name, s.FileFlag(): s.FileName()} {
			if f := fs.Lookup(flag); isSetting(f) && f.Changed {
				overrides[variable] = f.Value.String()
			}
		}
	}
	return config.Load(role, environ, overrides, checks...)
}

// helpWidth is how many columns help texts and long outputs have at most.
const helpWidth = 80

// WriteFlags writes the help of a program's flags: first its own, then the
// settings.
func WriteFlags(w io.Writer, fs *pflag.FlagSet) error {
	own := pflag.NewFlagSet("", pflag.ContinueOnError)
	own.SortFlags = false
	fs.VisitAll(func(f *pflag.Flag) {
		if !isSetting(f) && f.Name != "help" {
			own.AddFlag(f)
		}
	})
	if help := fs.Lookup("help"); help != nil {
		own.AddFlag(help)
	}
	var b strings.Builder
	if own.HasFlags() {
		fmt.Fprintf(&b, "\nFlags:\n%s", own.FlagUsagesWrapped(helpWidth))
	}
	writeSettings(&b, fs)
	_, err := io.WriteString(w, b.String())
	return err
}

func writeSettings(b *strings.Builder, fs *pflag.FlagSet) {
	var list strings.Builder
	files, _ := FileFlags(fs)
	for _, s := range config.Settings() {
		f := fs.Lookup(s.Flag)
		if !isSetting(f) {
			f = fs.Lookup(s.FileFlag())
		}
		if !isSetting(f) {
			continue
		}
		form := s.Form
		if value := f.Annotations[settingAnnotation][1]; value != "" {
			form += "; default " + value
		}
		list.WriteString("  " + strings.Join(titles(s), ", or ") + "\n" + Wrap(s.Meaning, "        ") + Wrap(form, "        "))
	}
	if list.Len() == 0 {
		return
	}
	intro := "Settings, each a flag or an environment variable, of which the flag wins."
	if len(files) > 0 {
		intro += " A -file flag, or the variable with _FILE behind its name, names a file that holds the value."
	}
	b.WriteString("\n" + Wrap(intro, "") + list.String())
}

// titles are the ways to give a setting.
func titles(s config.Setting) []string {
	list := []string{s.Name}
	if s.HasFlag() {
		list = []string{"--" + s.Flag + ", " + s.Name}
	}
	if s.HasFile() {
		list = append(list, "--"+s.FileFlag())
	}
	return list
}

// Wrap breaks a text into lines that begin with indent and, as far as its words
// allow, fit a terminal.
func Wrap(text, indent string) string {
	var b strings.Builder
	line := indent
	for word := range strings.FieldsSeq(text) {
		if line != indent && len([]rune(line))+1+len([]rune(word)) > helpWidth {
			b.WriteString(line + "\n")
			line = indent
		}
		if line != indent {
			line += " "
		}
		line += word
	}
	b.WriteString(line + "\n")
	return b.String()
}
