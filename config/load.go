package config

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/caarlos0/env/v11"
)

// Load reads the settings of a role. environ has "NAME=value" items, as
// os.Environ returns them; overrides, by variable name, come from flags and go
// before environ. An override that is empty puts the default back. checks judge
// values that only other packages understand. When the configuration is wrong the
// error is an [*Error] with every problem.
func Load(role Role, environ []string, overrides map[string]string, checks ...Check) (*Config, error) {
	if !slices.Contains([]Role{Ingest, Worker, Dev, Admin, Store, Replay, Client, All}, role) {
		return nil, fmt.Errorf("read configuration: no role %q", role)
	}
	l := &loader{
		role:      role,
		settings:  Settings(),
		environ:   env.ToMap(environ),
		overrides: overrides,
		config:    &Config{origins: map[string]Origin{}},
	}
	if err := l.parse(l.read()); err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	l.check(checks)
	l.derive()
	l.require()
	l.refuseUnknown()
	if len(l.problems) > 0 {
		return nil, l.err()
	}
	return l.config, nil
}

// Unused returns the variables in environ that set what the role does not use,
// in the order of Settings. They are no mistake where processes share an
// environment, but a public process is better off without others' secrets.
func Unused(role Role, environ []string) []string {
	given := env.ToMap(environ)
	var names []string
	for _, s := range Settings() {
		if s.UsedBy(role) {
			continue
		}
		for _, name := range s.names() {
			if given[name] != "" {
				names = append(names, name)
			}
		}
	}
	return names
}

// loader gathers a role's settings and what is wrong with them.
type loader struct {
	role      Role
	settings  []Setting
	environ   map[string]string
	overrides map[string]string
	config    *Config
	problems  []problem
}

// problem is a line of the Error and the setting that it is about.
type problem struct{ name, line string }

func (l *loader) report(name, format string, args ...any) {
	l.problems = append(l.problems, problem{name, fmt.Sprintf(format, args...)})
}

// refuse reports a value that is not of its setting's form. subject stands for
// the value, or for one of several: "it", "number 2 of 3".
func (l *loader) refuse(s Setting, text, subject string, cause error) {
	given := s.title()
	if shown := s.show(text); shown != "" {
		given += " is " + shown
	}
	l.report(s.Name, "%s: %s %v; write %s, such as %s", given, subject, cause, s.form.words, s.form.example)
}

// wrong reports whether a setting has a problem already.
func (l *loader) wrong(name string) bool {
	return slices.ContainsFunc(l.problems, func(p problem) bool { return p.name == name })
}

// missing reports whether the role uses a setting that nobody set.
func (l *loader) missing(name string) bool {
	return l.config.origins[name] == FromDefault && !l.wrong(name)
}

// err returns the problems in the order of Settings, and those of no setting
// after them.
func (l *loader) err() *Error {
	place := map[string]int{}
	for i, s := range l.settings {
		place[s.Name] = i - len(l.settings)
	}
	slices.SortStableFunc(l.problems, func(a, b problem) int {
		return cmp.Compare(place[a.name], place[b.name])
	})
	e := &Error{}
	for _, p := range l.problems {
		e.Problems = append(e.Problems, p.line)
	}
	return e
}

// read returns the texts of the settings that the role uses and somebody set,
// by name, and notes where each is from.
func (l *loader) read() map[string]string {
	texts := map[string]string{}
	for _, s := range l.settings {
		if !s.UsedBy(l.role) {
			continue
		}
		l.config.origins[s.Name] = FromDefault
		if text, from := l.lookup(s); text != "" {
			texts[s.Name] = text
			l.config.origins[s.Name] = from
		}
	}
	return texts
}

// lookup returns the text of a setting and where it is from; an empty text when
// nobody set it or it cannot be read.
func (l *loader) lookup(s Setting) (string, Origin) {
	plain, given := l.overrides[s.Name]
	file, givenFile := l.overrides[s.FileName()]
	from := FromFlag
	if !given && !givenFile {
		plain, file, from = l.environ[s.Name], l.environ[s.FileName()], FromEnvironment
	}
	switch {
	case file == "" || !s.HasFile():
		return plain, from
	case plain != "":
		l.report(s.Name, "%s and %s are both set; unset one of them", s.Name, s.FileName())
		return "", ""
	}
	text, err := readSecret(file)
	if err != nil {
		l.report(s.Name, "%s (--%s): %v; name a file that this process can read and that holds the value alone", s.FileName(), s.FileFlag(), err)
		return "", ""
	}
	return text, FromFile
}

// readSecret returns what a file holds without the newline at its end.
func readSecret(file string) (string, error) {
	content, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	text := strings.TrimSuffix(strings.TrimSuffix(string(content), "\n"), "\r")
	if strings.TrimSpace(text) == "" {
		return "", fmt.Errorf("read %s: the file is empty", file)
	}
	return text, nil
}

// parse fills the fields that the role uses, defaults included. Its error means
// that Config itself is wrong, not the configuration.
func (l *loader) parse(texts map[string]string) error {
	err := env.ParseWithOptions(l.config, env.Options{Environment: texts, FuncMap: shapes()})
	var all env.AggregateError
	if err != nil && !errors.As(err, &all) {
		return err
	}
	for _, err := range all.Errors {
		var bad env.ParseError
		if !errors.As(err, &bad) {
			return err
		}
		field, _ := reflect.TypeFor[Config]().FieldByName(bad.Name)
		for _, s := range l.settings {
			if s.field == field.Index[0] {
				l.refuse(s, texts[s.Name], "it", bad.Err)
			}
		}
	}
	for _, s := range l.settings {
		if !s.UsedBy(l.role) {
			s.value(l.config).SetZero()
		}
	}
	return nil
}

// derive sets the defaults that depend on the role or on other settings.
func (l *loader) derive() {
	c := l.config
	if l.role == Dev && l.missing("KLINGHOOK_REDIS_URL") {
		c.RedisURL = ""
	}
	if l.missing("KLINGHOOK_DATABASE_URL") {
		c.DatabaseURL = "sqlite:" + filepath.Join(c.Data, "klinghook.db")
	}
	if l.missing("KLINGHOOK_SPOOL_DIR") {
		c.SpoolDir = filepath.Join(c.Data, "spool")
	}
	if l.missing("KLINGHOOK_BUCKET_URL") {
		// A file URL has no relative paths.
		media, err := filepath.Abs(filepath.Join(c.Data, "media"))
		if err != nil {
			l.report("KLINGHOOK_DATA", "KLINGHOOK_DATA (--data): %v; write an absolute path", err)
			return
		}
		c.BucketURL = (&url.URL{Scheme: "file", Path: filepath.ToSlash(media)}).String()
	}
}

// Check judges the items of one setting besides the check of its form.
type Check struct {
	// Name is the setting's variable.
	Name string
	// Item returns what is wrong with an item, as completing "it …", and nothing of
	// a secret.
	Item func(string) error
}

// judge is the check of a setting's form, and then those given to Load.
func judge(s Setting, checks []Check, item string) error {
	if s.form.check != nil {
		if err := s.form.check(item); err != nil {
			return err
		}
	}
	for _, c := range checks {
		if c.Name == s.Name {
			return c.Item(item)
		}
	}
	return nil
}

// check holds every value against its setting's form, and the checks.
func (l *loader) check(checks []Check) {
	for _, s := range l.settings {
		if !s.UsedBy(l.role) || l.wrong(s.Name) {
			continue
		}
		// No time at all is a time; any other zero is no value.
		if _, isTime := s.value(l.config).Interface().(time.Duration); !isTime && s.value(l.config).IsZero() {
			continue
		}
		items := listOf(s.value(l.config))
		for i, item := range items {
			subject := "it"
			if len(items) > 1 && s.Secret != SecretNone {
				subject = fmt.Sprintf("number %d of %d", i+1, len(items))
			}
			if err := judge(s, checks, item); err != nil {
				l.refuse(s, item, subject, err)
			}
		}
	}
}

// require reports what the role cannot do without, and what cannot go together.
func (l *loader) require() {
	c := l.config
	if names := l.webhookSecrets(); l.role == Ingest && !slices.ContainsFunc(names, func(name string) bool { return !l.missing(name) }) {
		l.report(names[0], "%s are not set, so nothing could be received; set one of them: KLINGAI_WEBHOOK_SECRET to the secret that `klinghook webhooks register` shows, "+
			"or KLINGAI_OFFICIAL_WEBHOOK_SECRET to the Webhook Secret from Kling's console, or KLINGHOOK_CALLBACK_TOKEN for an account that has neither, or name the file that holds it in …_FILE",
			strings.Join(names, ", "))
	}
	if l.role != All {
		l.requireCredentials()
		l.requireLogin()
	}
	if len(c.ForwardURLs) > 0 && l.missing("KLINGHOOK_FORWARD_SECRET") && l.role != All {
		l.report("KLINGHOOK_FORWARD_SECRET", "KLINGHOOK_FORWARD_SECRET (--forward-secret-file) is not set, and what goes to KLINGHOOK_FORWARD_URLS must be signed; set it to what this prints: %s", secretCommand)
	}
	if !l.wrong("KLINGHOOK_ADDR") && !l.wrong("KLINGHOOK_ADMIN_ADDR") && collide(c.Addr, c.AdminAddr) {
		l.report("KLINGHOOK_ADMIN_ADDR", "KLINGHOOK_ADMIN_ADDR (--admin-addr) is %q: it wants the port that KLINGHOOK_ADDR has; write another port, such as 127.0.0.1:5001", c.AdminAddr)
	}
}

// requireCredentials reports credentials of Kling's that are half there, or twice.
func (l *loader) requireCredentials() {
	access, secret := l.given("KLINGAI_ACCESS_KEY"), l.given("KLINGAI_SECRET_KEY")
	switch {
	case access && !secret:
		l.report("KLINGAI_SECRET_KEY", "KLINGAI_SECRET_KEY (--klingai-secret-key-file) is not set, and KLINGAI_ACCESS_KEY is no use without it; set it to the secret key that Kling showed with the access key")
	case secret && !access:
		l.report("KLINGAI_ACCESS_KEY", "KLINGAI_ACCESS_KEY (--klingai-access-key-file) is not set, and KLINGAI_SECRET_KEY is no use without it; set it to the access key that Kling shows")
	case access && l.given("KLINGAI_API_KEY"):
		l.report("KLINGAI_API_KEY", "KLINGAI_API_KEY and KLINGAI_ACCESS_KEY are both set; unset the access key and its secret key, for the API key is good for all that they are")
	}
}

// requireLogin reports ways to log in to the queue pages that are half there.
func (l *loader) requireLogin() {
	user, hash := l.given("KLINGHOOK_ADMIN_USER"), l.given("KLINGHOOK_ADMIN_PASSWORD_HASH")
	header, proxies := l.given("KLINGHOOK_ADMIN_PROXY_HEADER"), l.given("KLINGHOOK_ADMIN_PROXIES")
	switch {
	case user && !hash:
		l.report("KLINGHOOK_ADMIN_PASSWORD_HASH", "KLINGHOOK_ADMIN_PASSWORD_HASH (--admin-password-hash-file) is not set, and KLINGHOOK_ADMIN_USER has no password without it; set it to what `klinghook admin hash-password` prints")
	case hash && !user:
		l.report("KLINGHOOK_ADMIN_USER", "KLINGHOOK_ADMIN_USER (--admin-user) is not set, and KLINGHOOK_ADMIN_PASSWORD_HASH is nobody's without it; set it to a name to log in with")
	}
	switch {
	case header && !proxies:
		l.report("KLINGHOOK_ADMIN_PROXIES", "KLINGHOOK_ADMIN_PROXIES (--admin-proxies) is not set, so that anybody could send the header of KLINGHOOK_ADMIN_PROXY_HEADER; set it to the addresses of the proxies that send it, such as 10.0.0.7")
	case proxies && !header:
		l.report("KLINGHOOK_ADMIN_PROXY_HEADER", "KLINGHOOK_ADMIN_PROXY_HEADER (--admin-proxy-header) is not set, and KLINGHOOK_ADMIN_PROXIES means nothing without it; set it to the header in which the proxy names the user, such as X-Forwarded-User")
	}
}

// given reports whether the role uses a setting that somebody set, to whatever.
func (l *loader) given(name string) bool {
	return l.config.origins[name] != "" && l.config.origins[name] != FromDefault
}

// webhookSecrets returns the names of the settings with which deliveries are
// verified: the lists of secrets that are ingest's.
func (l *loader) webhookSecrets() []string {
	var names []string
	for _, s := range l.settings {
		_, isList := s.value(l.config).Interface().([]string)
		if isList && s.Secret == SecretWhole && s.UsedBy(Ingest) {
			names = append(names, s.Name)
		}
	}
	return names
}

// collide reports whether two listeners cannot have these addresses at once.
func collide(a, b string) bool {
	hostA, portA, errA := net.SplitHostPort(a)
	hostB, portB, errB := net.SplitHostPort(b)
	if errA != nil || errB != nil || portA != portB || portA == "0" {
		return false
	}
	everywhere := []string{"", "0.0.0.0", "::"}
	return hostA == hostB || slices.Contains(everywhere, hostA) || slices.Contains(everywhere, hostB)
}

// refuseUnknown reports variables that are klinghook's by their prefix, and
// overrides, that set nothing.
func (l *loader) refuseUnknown() {
	var known []string
	plain := map[string]bool{}
	for _, s := range l.settings {
		known = append(known, s.names()...)
		plain[s.Name] = !s.HasFile()
	}
	names := slices.DeleteFunc(slices.Collect(maps.Keys(l.environ)), func(name string) bool {
		return !strings.HasPrefix(name, prefix) || isServiceLink(name, l.environ)
	})
	names = slices.AppendSeq(names, maps.Keys(l.overrides))
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		base, isFile := strings.CutSuffix(name, "_FILE")
		switch {
		case slices.Contains(known, name):
		case isFile && plain[base]:
			l.report(name, "%s is not a setting, for %s is no secret and is not read from a file; set %s itself", name, base, base)
		default:
			l.report(name, "%s is not a setting; did you mean %s?", name, nearest(name, known))
		}
	}
}

// isServiceLink reports whether Kubernetes made the variable: for a Service of
// the name klinghook it gives every pod beside it KLINGHOOK_SERVICE_HOST,
// KLINGHOOK_PORT and others that begin with these.
func isServiceLink(name string, environ map[string]string) bool {
	for other := range environ {
		service, found := strings.CutSuffix(other, "_SERVICE_HOST")
		rest, begins := strings.CutPrefix(name, service+"_")
		if found && begins && (strings.HasPrefix(rest, "SERVICE_") || rest == "PORT" || strings.HasPrefix(rest, "PORT_")) {
			return true
		}
	}
	return false
}
