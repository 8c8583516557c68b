package config

import (
	"cmp"
	"reflect"
	"slices"
	"strings"
)

// Secret is how much of a setting's value is hidden.
type Secret string

// The levels of secrecy.
const (
	SecretNone  Secret = ""      // the value is shown
	SecretURL   Secret = "url"   // a URL's login and query are hidden
	SecretWhole Secret = "whole" // the whole value is hidden
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
}

// Settings returns every setting in the order of the documentation.
func Settings() []Setting {
	var settings []Setting
	var group string
	for _, field := range reflect.VisibleFields(reflect.TypeFor[Config]()) {
		if !field.IsExported() {
			continue
		}
		group = cmp.Or(field.Tag.Get("group"), group)
		s := Setting{
			Group: group,
			Name:  field.Tag.Get("env"), Default: field.Tag.Get("envDefault"), Meaning: field.Tag.Get("help"),
			Secret: Secret(field.Tag.Get("secret")), Kind: field.Type.Kind(), form: forms[field.Tag.Get("form")], needs: field.Tag.Get("needs"),
			roles: strings.Fields(field.Tag.Get("roles")), field: field.Name,
		}
		s.Form = s.form.words
		s.Flag = strings.ReplaceAll(strings.ToLower(strings.TrimPrefix(s.Name, "KLINGHOOK_")), "_", "-")
		settings = append(settings, s)
	}
	return settings
}

// Lookup returns the setting of this name, or a zero Setting if there is none.
func Lookup(name string) Setting {
	for _, s := range Settings() {
		if s.Name == name {
			return s
		}
	}
	return Setting{}
}

// HasFlag reports whether a flag may hold the value. Other users of the machine
// can read a process's arguments, so a secret has only a flag for its file.
func (s Setting) HasFlag() bool { return s.Secret != SecretWhole }

// FileName returns the variable that names the file of a secret value.
func (s Setting) FileName() string { return s.Name + "_FILE" }

// FileFlag returns the flag that names the file of a secret value.
func (s Setting) FileFlag() string { return s.Flag + "-file" }

// UsedBy reports whether the role uses the setting.
func (s Setting) UsedBy(role Role) bool {
	return role == All || slices.Contains(s.roles, string(role))
}

// Title names the variable and its flag, for messages.
func (s Setting) Title() string {
	if !s.HasFlag() {
		return s.Name + " (--" + s.FileFlag() + ")"
	}
	return s.Name + " (--" + s.Flag + ")"
}

func (s Setting) value(c *Config) reflect.Value {
	return reflect.ValueOf(c).Elem().FieldByName(s.field)
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
