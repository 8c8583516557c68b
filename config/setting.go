package config

import (
	"cmp"
	"fmt"
	"net/url"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Setting describes one setting.
type Setting struct {
	Name    string // the variable, such as "KLINGHOOK_REDIS_URL"
	Flag    string // the flag without dashes, such as "redis-url"; see HasFlag
	Default string // empty if there is none; "<data>" is the value of KLINGHOOK_DATA
	Meaning string
	Group   string // the heading in the documentation
	Form    string // what a value looks like
	Secret  Secret
	Kind    reflect.Kind

	form  form
	roles []string
	needs string
	field string // its name in Config
	free  bool   // the value may have line breaks, quotes and all characters
}

var settings = describe()

// Settings returns every setting in the order of the documentation.
func Settings() []Setting { return slices.Clone(settings) }

func describe() (settings []Setting) {
	var group string
	for _, field := range reflect.VisibleFields(reflect.TypeFor[Config]()) {
		if !field.IsExported() {
			continue
		}
		group = cmp.Or(field.Tag.Get("group"), group)
		setting := Setting{
			Group: group,
			Name:  field.Tag.Get("env"), Default: field.Tag.Get("envDefault"), Meaning: field.Tag.Get("help"),
			Secret: Secret(field.Tag.Get("secret")), Kind: field.Type.Kind(), form: forms[field.Tag.Get("form")], needs: field.Tag.Get("needs"),
			roles: strings.Fields(field.Tag.Get("roles")), field: field.Name, free: field.Tag.Get("form") == "template",
		}
		setting.Form = setting.form.words
		setting.Flag = strings.ReplaceAll(strings.ToLower(strings.TrimPrefix(setting.Name, "KLINGHOOK_")), "_", "-")
		settings = append(settings, setting)
	}
	return settings
}

// Lookup returns the setting of this name, or a zero Setting if there is none.
func Lookup(name string) (found Setting) {
	for _, setting := range settings {
		if setting.Name == name {
			found = setting
		}
	}
	return found
}

// HasFlag reports whether a flag may have the value. Other users of the machine
// can read a process's arguments, so a secret has only a flag for its file.
func (s Setting) HasFlag() bool { return s.Secret == SecretNone || s.Secret == SecretURL }

// FileName returns the variable that names the file of a secret value.
func (s Setting) FileName() string { return s.Name + "_FILE" }

// FileFlag returns the flag that names the file of a secret value.
func (s Setting) FileFlag() string { return s.Flag + "-file" }

// UsedBy reports whether the role uses the setting.
func (s Setting) UsedBy(role Role) bool { return role == All || slices.Contains(s.roles, string(role)) }

// Title names the variable and its flag, for messages.
func (s Setting) Title() string {
	if s.HasFlag() {
		return fmt.Sprintf("%s (--%s)", s.Name, s.Flag)
	}
	return fmt.Sprintf("%s (--%s)", s.Name, s.FileFlag())
}

func (s Setting) value(cfg *Config) reflect.Value {
	return reflect.ValueOf(cfg).Elem().FieldByName(s.field)
}

// items returns the items of a value's text if it is a list, else the text.
func (s Setting) items(text string) []string {
	switch s.value(&Config{}).Interface().(type) {
	case []string, map[string]int:
		return split(text, comma)
	case URLs:
		return split(text, nextURL)
	}
	return []string{text}
}

// Secret says how much of a value is hidden, and which values are valid.
type Secret string

// The kinds of secrets.
const (
	SecretNone   Secret = ""       // the value is shown
	SecretURL    Secret = "url"    // login and query are hidden, and the path of an HTTP URL
	SecretText   Secret = "text"   // the value is hidden
	SecretKey    Secret = "key"    // the value is hidden, and is one word
	SecretStrong Secret = "strong" // the value is hidden, and has at least minSecret bytes
)

const (
	minSecret     = 16                                   // bytes
	composeSecret = "known-to-all-for-this-machine-only" // in docker-compose.yml, also as a key in base64
)

var (
	exampleValue = regexp.MustCompile(`(?i)change[-_ ]?me|…|^<.*>$`)
	invisible    = regexp.MustCompile(`[\p{Cf}\p{Zl}\p{Zp}\x{034F}\x{115F}\x{1160}\x{17B4}\x{17B5}\x{180B}-\x{180F}\x{2800}\x{3164}\x{FE00}-\x{FE0F}\x{FFA0}]`)
	variableName = regexp.MustCompile(`^[A-Z][A-Z0-9]*_[A-Z0-9_]*=.`)
	loopback     = regexp.MustCompile(`^(?:localhost|127(?:\.[0-9]+){3}|\[::1\]):`)
	password     = regexp.MustCompile(`(?i)://[^/?#]*@|[?&][a-z_.-]*(?:pass|secret|token)[a-z_.-]*=`)
)

// damage returns how a value was damaged, such as by quotes; empty if it was not.
func (s Setting) damage(item string) string {
	assignment := strings.ReplaceAll(strings.TrimPrefix(item, "export "), ": ", "=")
	name, _, _ := strings.Cut(assignment, "=")
	isSpace := func(r rune) bool {
		return unicode.IsControl(r) || unicode.IsSpace(r) && (r != ' ' || s.Secret == SecretKey)
	}
	switch {
	case !utf8.ValidString(item):
		return "is not UTF-8; if it is in a file, save the file as plain text in UTF-8"
	case s.free:
		return ""
	case invisible.MatchString(item):
		return fmt.Sprintf("contains the invisible character %U; copy the value again, or save its file as plain text without a byte order mark", []rune(invisible.FindString(item))[0])
	case strings.Trim(item, "\"'`“”‘’") != item:
		return "has a quote at its start or end; write the value without quotes, which docker run --env-file and files keep"
	case s.Secret != SecretNone && Lookup(strings.TrimSuffix(strings.ToUpper(name), "_FILE")).Name != "", (s.Secret == SecretKey || s.Secret == SecretStrong) && variableName.MatchString(assignment):
		return "begins with the name of a variable; write only the value"
	case strings.TrimSpace(item) != item, strings.ContainsFunc(item, isSpace):
		return "contains white space or a control character; copy the value again without it"
	}
	return ""
}

// weakness returns why others could know or guess a secret; empty if they could not.
func (s Setting) weakness(item string, onLoopback bool) string {
	key := keyOf(item)
	switch {
	case s.Secret != SecretNone && exampleValue.MatchString(item):
		return "is an example; set a value of your own"
	case key == composeSecret && !onLoopback:
		return "is the public default in docker-compose.yml, which is for loopback addresses only; set a value of your own"
	case s.Secret == SecretStrong && len(key) < minSecret && s.form.valid(item):
		return fmt.Sprintf("is too short and could be guessed: its key has %d bytes; it must have at least %d", len(key), minSecret)
	}
	return ""
}

// Problem returns the problem with an item of the setting, without showing it; empty if
// there is none. A weak secret is a problem too.
func (s Setting) Problem(item string) string {
	problem := cmp.Or(s.damage(item), s.weakness(item, false))
	if problem == "" && !s.form.valid(item) {
		problem = s.form.rule()
	}
	return problem
}

// quote returns the part of an invalid value that a message may show.
func (s Setting) quote(text string) string {
	switch {
	case !s.HasFlag():
		return ""
	case s.Secret == SecretURL, strings.Contains(text, "://"), strings.Contains(text, "@"):
		return " is " + redactURL(text) // a login meant for another setting is hidden too
	}
	return " is " + strconv.Quote(text)
}

// redactURL hides a URL's login, query and fragment, the path of an HTTP URL, and the
// whole text if it is not a URL or seems to have an unescaped password.
func redactURL(text string) string {
	if strings.HasPrefix(text, "sqlite:") {
		path, _, _ := strings.Cut(text, "?")
		return path
	}
	u, err := url.Parse(text)
	if err != nil || !strings.Contains(text, "://") || isMisread(u) {
		return "xxxxx"
	}
	if u.User != nil {
		u.User = url.User("xxxxx")
	}
	if u.RawQuery, u.Fragment = "", ""; strings.HasPrefix(u.Scheme, "http") {
		u.Path, u.RawPath = "", ""
	}
	return u.String()
}
