package config

import (
	"reflect"
	"slices"
	"strings"
)

// Secret says how much of a setting's value must not be shown.
type Secret string

// How much of a value is secret.
const (
	// SecretNone is a value that may be shown.
	SecretNone Secret = "none"
	// SecretURL is a URL or a list of them: login and query are not shown.
	SecretURL Secret = "url"
	// SecretWhole is a value of which nothing is shown.
	SecretWhole Secret = "whole"
)

// Setting describes one setting.
type Setting struct {
	// Name is the variable's name, e.g. "KLINGHOOK_REDIS_URL".
	Name string
	// Flag is the same in a flag's words without dashes before it, e.g.
	// "redis-url". Not every setting has a plain flag: see HasFlag.
	Flag string
	// Default is the value when none is set, as text; empty where there is
	// none. In it "<data>" stands for the directory that KLINGHOOK_DATA names.
	Default string
	// Meaning is what the setting does, in one or two sentences.
	Meaning string
	// Form is what a value looks like, with its unit.
	Form string
	// Secret says how much of the value must not be shown.
	Secret Secret
	// Roles are the roles that use it; All, which uses every one, is not named.
	Roles []Role

	form  form
	field int // its index in Config
}

// Settings returns every setting, in the order in which documents list them.
func Settings() []Setting {
	table := forms()
	var settings []Setting
	config := reflect.TypeFor[Config]()
	for i := range config.NumField() {
		field := config.Field(i)
		if !field.IsExported() {
			continue
		}
		s := Setting{
			Name:    field.Tag.Get("env"),
			Default: field.Tag.Get("envDefault") + field.Tag.Get("derived"),
			Meaning: field.Tag.Get("help"),
			Secret:  Secret(field.Tag.Get("secret")),
			form:    table[field.Tag.Get("form")],
			field:   i,
		}
		s.Flag = flagName(s.Name)
		s.Form = s.form.words
		for _, role := range strings.Fields(field.Tag.Get("roles")) {
			s.Roles = append(s.Roles, Role(role))
		}
		settings = append(settings, s)
	}
	return settings
}

// HasFlag reports whether the value itself may be a flag's. A value that is
// secret as a whole may not: other users of the machine can list a process's
// arguments.
func (s Setting) HasFlag() bool { return s.Secret != SecretWhole }

// IsSwitch reports whether the value is true or false; its flag alone means true.
func (s Setting) IsSwitch() bool {
	return reflect.TypeFor[Config]().Field(s.field).Type.Kind() == reflect.Bool
}

// HasFile reports whether the value may stand in a file, which the variable
// FileName or the flag FileFlag names.
func (s Setting) HasFile() bool { return s.Secret != SecretNone }

// FileName returns the name of the variable that names a file with the value,
// e.g. "KLINGAI_API_KEY_FILE". It means something only where HasFile is true.
func (s Setting) FileName() string { return s.Name + "_FILE" }

// FileFlag returns FileName in a flag's words, e.g. "klingai-api-key-file".
func (s Setting) FileFlag() string { return s.Flag + "-file" }

// UsedBy reports whether the role uses the setting.
func (s Setting) UsedBy(role Role) bool {
	return role == All || slices.Contains(s.Roles, role)
}

// title names the setting in a problem: the variable, and the flag to use.
func (s Setting) title() string {
	if s.HasFlag() {
		return s.Name + " (--" + s.Flag + ")"
	}
	return s.Name + " (--" + s.FileFlag() + ")"
}

// value returns the setting's field in c.
func (s Setting) value(c *Config) reflect.Value {
	return reflect.ValueOf(c).Elem().Field(s.field)
}

// names returns the variables that can set it.
func (s Setting) names() []string {
	if s.HasFile() {
		return []string{s.Name, s.FileName()}
	}
	return []string{s.Name}
}

// flagName turns a variable's name into a flag's. Kling's own variables keep
// "klingai", which tells them from klinghook's.
func flagName(variable string) string {
	words := strings.ToLower(strings.TrimPrefix(variable, prefix))
	return strings.ReplaceAll(words, "_", "-")
}

// prefix is what the variables that belong to klinghook alone begin with.
const prefix = "KLINGHOOK_"
