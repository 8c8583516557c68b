package config

import (
	"cmp"
	"fmt"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/caarlos0/env/v11"
)

// Error is everything that is wrong with the settings, one line each.
type Error struct{ Problems []string }

func (e *Error) Error() string { return "wrong settings:\n  - " + strings.Join(e.Problems, "\n  - ") }

// Checks validate items of settings, by variable, that only other packages
// understand. Their errors must not contain a secret.
type Checks map[string]func(item string) error

// Load reads the settings of a role. environ has "NAME=value" items; flags has
// values by variable and takes precedence, an empty one restoring the default.
// Problems are reported as an [*Error].
func Load(role Role, environ []string, flags map[string]string, checks Checks) (*Config, error) {
	l := &loader{
		role: role, environ: env.ToMap(environ), flags: flags, problems: map[string]string{},
		config: &Config{texts: map[string]string{}, origins: map[string]Origin{}},
	}
	for _, s := range Settings() {
		if s.UsedBy(role) {
			l.problems[s.Name] = cmp.Or(l.read(s), l.check(s, checks[s.Name]))
		}
	}
	l.require()
	var problems []string
	for _, s := range Settings() {
		if line := l.problems[s.Name]; line != "" {
			problems = append(problems, line)
		}
	}
	if problems = append(problems, unknown(l.environ)...); len(problems) > 0 {
		return nil, &Error{problems}
	}
	if err := l.fill(); err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	return l.config, nil
}

type loader struct {
	role     Role
	environ  map[string]string
	flags    map[string]string
	config   *Config
	problems map[string]string // by variable
}

// read finds the text of a setting and where it comes from. It returns a problem,
// if any.
func (l *loader) read(s Setting) string {
	source, origin := l.environ, FromEnvironment
	for _, name := range []string{s.Name, s.FileName()} {
		if _, given := l.flags[name]; given {
			source, origin = l.flags, FromFlag
		}
	}
	text, file := source[s.Name], source[s.FileName()]
	l.config.origins[s.Name] = FromDefault
	switch {
	case text != "" && file != "":
		return fmt.Sprintf("%s and %s are both set; unset one of them", s.Name, s.FileName())
	case file != "":
		content, err := os.ReadFile(file)
		text, origin = strings.TrimRight(string(content), "\r\n"), FromFile
		if err == nil && strings.TrimSpace(text) == "" {
			err = fmt.Errorf("%s is empty", file)
		}
		if err != nil {
			return fmt.Sprintf("%s (--%s): %v; name a readable file that contains only the value", s.FileName(), s.FileFlag(), err)
		}
	case text == "":
		return ""
	}
	if u, err := url.Parse(text); origin == FromFlag && s.Secret == SecretURL && err == nil && u.User != nil {
		return fmt.Sprintf("--%s has a login, which other users of this machine can read; set %s or name a file with --%s", s.Flag, s.Name, s.FileFlag())
	}
	l.config.texts[s.Name], l.config.origins[s.Name] = text, origin
	return ""
}

// given reports whether the role uses a setting that somebody set.
func (l *loader) given(name string) bool { return l.config.texts[name] != "" }

// check describes the problem with the text of a setting that somebody set, if any.
func (l *loader) check(s Setting, check func(string) error) string {
	if !l.given(s.Name) {
		return ""
	}
	items := s.items(l.config.texts[s.Name])
	for i, item := range items {
		given := s.Title()
		if len(items) > 1 && s.Secret != SecretNone {
			given += fmt.Sprintf(" number %d of %d", i+1, len(items))
		}
		if shown := s.quote(item); shown != "" {
			given += " is " + shown
		}
		if !s.form.valid(item) {
			return fmt.Sprintf("%s: must be %s, such as %s", given, s.form.words, s.form.example)
		}
		if check == nil {
			continue
		}
		if err := check(item); err != nil {
			return fmt.Sprintf("%s: %v", given, err)
		}
	}
	if len(items) == 0 {
		return fmt.Sprintf("%s: must be %s, but is empty", s.Title(), s.form.words)
	}
	return ""
}

// fill sets the fields that the role uses.
func (l *loader) fill() error {
	c := l.config
	if err := env.ParseWithOptions(c, env.Options{Environment: c.texts, FuncMap: parsers}); err != nil {
		return err
	}
	if l.role == Dev && !l.given("KLINGHOOK_REDIS_URL") {
		c.RedisURL = ""
	}
	c.DatabaseURL = strings.Replace(c.DatabaseURL, "<data>", filepath.Clean(c.Data), 1)
	c.SpoolDir = strings.Replace(c.SpoolDir, "<data>", filepath.Clean(c.Data), 1)
	data, err := filepath.Abs(c.Data) // a file URL has no relative path
	c.BucketURL = strings.Replace(c.BucketURL, "<data>", (&url.URL{Path: filepath.ToSlash(data)}).EscapedPath(), 1)
	for _, s := range Settings() {
		if !s.UsedBy(l.role) {
			s.value(c).SetZero()
		}
	}
	return err
}

// require reports settings that are missing, and those that exclude each other.
func (l *loader) require() {
	if l.role == All {
		return
	}
	for _, s := range Settings() {
		if other := Lookup(s.needs); other.Name != "" && l.given(s.Name) && !l.given(other.Name) {
			l.problems[other.Name] = cmp.Or(l.problems[other.Name], fmt.Sprintf(
				"%s must be set if %s is; it must be %s, such as %s", other.Title(), s.Name, other.form.words, other.form.example))
		}
	}
	if l.given("KLINGAI_API_KEY") && l.given("KLINGAI_ACCESS_KEY") {
		l.problems["KLINGAI_API_KEY"] = "KLINGAI_API_KEY and KLINGAI_ACCESS_KEY are both set; unset KLINGAI_ACCESS_KEY and KLINGAI_SECRET_KEY, which the API key replaces"
	}
	secrets := []string{"KLINGAI_WEBHOOK_SECRET", "KLINGAI_OFFICIAL_WEBHOOK_SECRET", "KLINGHOOK_CALLBACK_TOKEN"}
	if l.role == Ingest && !slices.ContainsFunc(secrets, func(name string) bool { return l.given(name) || l.problems[name] != "" }) {
		l.problems[secrets[0]] = strings.Join(secrets, ", ") + " are all unset, so nothing could be received; set KLINGAI_WEBHOOK_SECRET to the secret that `klinghook webhooks register` shows, " +
			"KLINGAI_OFFICIAL_WEBHOOK_SECRET to the Webhook Secret of Kling's console, or KLINGHOOK_CALLBACK_TOKEN if your account has neither; …_FILE names a file instead"
	}
}

// unknown reports variables with klinghook's prefix that set nothing.
func unknown(environ map[string]string) []string {
	var known, problems []string
	for _, s := range Settings() {
		known = append(known, s.Name)
		if s.Secret != SecretNone {
			known = append(known, s.FileName())
		}
	}
	for _, name := range slices.Sorted(maps.Keys(environ)) {
		if strings.HasPrefix(name, "KLINGHOOK_") && !slices.Contains(known, name) && !isForeign(name, environ) {
			near := slices.MaxFunc(known, func(a, b string) int { return cmp.Compare(likeness(name, a), likeness(name, b)) })
			problems = append(problems, fmt.Sprintf("%s is not a setting; did you mean %s?", name, near))
		}
	}
	return problems
}

// foreign matches variables for others: those that Kubernetes sets for a Service, such as
// KLINGHOOK_PORT for one named klinghook, and those of docker-compose.yml in its .env.
var foreign = regexp.MustCompile(`^(KLINGHOOK(?:_[A-Z0-9]+)*?)_(?:SERVICE_|PORT_|PORT$|SITE$|VERSION$)`)

func isForeign(name string, environ map[string]string) bool {
	match := foreign.FindStringSubmatch(name)
	return len(match) == 2 && (environ[match[1]+"_SERVICE_HOST"] != "" || environ["ENV_FILE"] != "")
}

// likeness compares b with a by the letters they share at their start and end.
func likeness(a, b string) (n int) {
	least := min(len(a), len(b))
	for n < least && a[n] == b[n] {
		n++
	}
	for end := 1; n < least && a[len(a)-end] == b[len(b)-end]; end++ {
		n++
	}
	return 2*n - len(b)
}
