package config

import (
	"cmp"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"github.com/caarlos0/env/v11"
)

// Error lists all problems with the settings, one line each.
type Error struct{ Problems []string }

func (e *Error) Error() string { return "invalid settings:\n  - " + strings.Join(e.Problems, "\n  - ") }

// Checks validate items of settings, by variable. Their errors must not show secrets.
type Checks map[string]func(item string) error

// Load reads the settings of a role. environ has "NAME=value" items. flags has values by
// variable and takes precedence; an empty one restores the default. Problems are reported
// as an [*Error].
func Load(role Role, environ []string, flags map[string]string, checks Checks) (*Config, error) {
	l := &loader{
		role: role, environ: env.ToMap(environ), flags: flags, problems: map[string]string{},
		config: &Config{texts: map[string]string{}, origins: map[string]Origin{}},
	}
	used := slices.DeleteFunc(Settings(), func(setting Setting) bool { return !setting.UsedBy(role) })
	for _, setting := range used {
		l.problems[setting.Name] = l.read(setting)
	}
	for _, setting := range used {
		l.problems[setting.Name] = cmp.Or(l.problems[setting.Name], l.check(setting, checks[setting.Name]))
	}
	l.require()
	var problems []string
	for _, setting := range used {
		if line := l.problems[setting.Name]; line != "" {
			problems = append(problems, line)
		}
	}
	if len(problems) > 0 {
		return nil, &Error{problems}
	}
	return l.config, l.fill()
}

type loader struct {
	role     Role
	environ  map[string]string
	flags    map[string]string
	config   *Config
	problems map[string]string // by variable; empty if there is none
}

// read finds the text of a setting and its origin. It returns a problem, if any.
func (l *loader) read(setting Setting) string {
	source, origin := l.environ, FromEnvironment
	_, asValue := l.flags[setting.Name]
	if _, asFile := l.flags[setting.FileName()]; asValue || asFile {
		source, origin = l.flags, FromFlag
	}
	text, file := source[setting.Name], source[setting.FileName()]
	switch {
	case text != "" && file != "":
		return fmt.Sprintf("%s and %s are both set; unset one of them", setting.Name, setting.FileName())
	case file != "":
		content, err := os.ReadFile(file)
		text, origin = strings.TrimRight(string(content), "\r\n"), FromFile
		if err == nil && strings.TrimSpace(text) == "" {
			err = fmt.Errorf("%s is empty", file)
		}
		if err != nil {
			return fmt.Sprintf("%s (--%s): %v; name a readable file that contains only the value", setting.FileName(), setting.FileFlag(), err)
		}
	case text == "":
		origin = FromDefault
	case origin == FromFlag && setting.Secret == SecretURL && password.MatchString(text):
		return fmt.Sprintf("--%s has a login, which other users of this machine can read; set %s or name a file with --%s", setting.Flag, setting.Name, setting.FileFlag())
	}
	l.config.texts[setting.Name], l.config.origins[setting.Name] = text, origin
	return ""
}

// given reports whether the role uses a setting and it is set.
func (l *loader) given(name string) bool { return l.config.texts[name] != "" }

// check returns the problem with the value of a setting, if any.
func (l *loader) check(setting Setting, check func(string) error) string {
	items := setting.items(l.config.texts[setting.Name])
	if l.given(setting.Name) && len(items) == 0 {
		return fmt.Sprintf("%s: must be %s, but is empty", setting.Title(), setting.form.words)
	}
	for i, item := range items {
		if item == "" {
			return ""
		}
		given := setting.Title()
		if len(items) > 1 && setting.Secret != SecretNone {
			given += fmt.Sprintf(" number %d of %d", i+1, len(items))
		}
		given += setting.quote(item)
		damage, weakness := setting.damage(item), setting.weakness(item, l.onLoopback())
		if isLenient := slices.Contains([]Role{Dev, Replay, Client, All}, l.role); isLenient && weakness != "" {
			l.config.warnings = append(l.config.warnings, given+" "+weakness)
			weakness = ""
		}
		switch {
		case damage != "" || weakness != "":
			return given + " " + cmp.Or(damage, weakness)
		case !setting.form.valid(item):
			return given + ": " + setting.form.rule()
		case check == nil:
		case check(item) != nil:
			return fmt.Sprintf("%s: %v", given, check(item))
		}
	}
	return ""
}

// onLoopback reports whether the secrets protect a loopback address. Compose publishes a
// site without a host name on a loopback address.
func (l *loader) onLoopback() bool {
	setting := Lookup(map[Role]string{Ingest: "KLINGHOOK_ADDR", Dev: "KLINGHOOK_ADDR", Admin: "KLINGHOOK_ADMIN_ADDR"}[l.role])
	return loopback.MatchString(cmp.Or(l.config.texts[setting.Name], setting.Default)) || strings.HasPrefix(l.environ["KLINGHOOK_SITE"], ":")
}

// fill sets the fields that the role uses.
func (l *loader) fill() error {
	cfg := l.config
	parsers := map[reflect.Type]env.ParserFunc{ // for types that env would parse differently
		reflect.TypeFor[int64]():     func(text string) (any, error) { return ParseSize(text), nil },
		reflect.TypeFor[[]string]():  func(text string) (any, error) { return split(text, comma), nil },
		reflect.TypeFor[Retention](): func(text string) (any, error) { return parseRetention(text) },
		reflect.TypeFor[URLs]():      func(text string) (any, error) { return URLs(split(text, nextURL)), nil },
	}
	if err := env.ParseWithOptions(cfg, env.Options{Environment: cfg.texts, FuncMap: parsers}); err != nil {
		return fmt.Errorf("read settings: %w", err)
	}
	cfg.DatabaseURL = strings.Replace(cfg.DatabaseURL, "<data>", filepath.Clean(cfg.Data), 1)
	cfg.SpoolDir = strings.Replace(cfg.SpoolDir, "<data>", filepath.Clean(cfg.Data), 1)
	data, err := filepath.Abs(cfg.Data) // a file URL has no relative path
	cfg.BucketURL = strings.Replace(cfg.BucketURL, "<data>", (&url.URL{Path: filepath.ToSlash(data)}).EscapedPath(), 1)
	for _, setting := range settings {
		if !setting.UsedBy(l.role) {
			setting.value(cfg).SetZero()
		}
	}
	return err
}

// require reports settings that are missing, and those that exclude each other.
func (l *loader) require() {
	for _, setting := range settings {
		if other := Lookup(setting.needs); l.role != All && other.Name != "" && l.given(setting.Name) && !l.given(other.Name) {
			l.problems[other.Name] = cmp.Or(l.problems[other.Name], fmt.Sprintf("%s must be set if %s is; it %s", other.Title(), setting.Name, other.form.rule()))
		}
	}
	if l.role != All && l.given("KLINGAI_API_KEY") && l.given("KLINGAI_ACCESS_KEY") {
		l.problems["KLINGAI_API_KEY"] = "KLINGAI_API_KEY and KLINGAI_ACCESS_KEY are both set; unset KLINGAI_ACCESS_KEY and KLINGAI_SECRET_KEY, which the API key replaces"
	}
	if user := "KLINGHOOK_ADMIN_USER"; l.given(user) && l.config.texts[user] == l.config.texts["KLINGHOOK_ADMIN_VIEWER_USER"] {
		l.problems["KLINGHOOK_ADMIN_VIEWER_USER"] = "KLINGHOOK_ADMIN_VIEWER_USER must be another name than KLINGHOOK_ADMIN_USER, who may change everything"
	}
	secrets := []string{"KLINGAI_WEBHOOK_SECRET", "KLINGAI_OFFICIAL_WEBHOOK_SECRET", "KLINGHOOK_CALLBACK_TOKEN"}
	if l.role == Ingest && !slices.ContainsFunc(secrets, func(name string) bool { return l.given(name) || l.problems[name] != "" }) {
		l.problems[secrets[0]] = strings.Join(secrets, ", ") + " are all unset, so nothing could be received; set KLINGAI_WEBHOOK_SECRET to the secret that `klinghook webhooks register` shows, " +
			"KLINGAI_OFFICIAL_WEBHOOK_SECRET to the Webhook Secret of Kling's console, or KLINGHOOK_CALLBACK_TOKEN if your account has neither; …_FILE names a file instead"
	}
}
