package config

import (
	"cmp"
	"fmt"
	"net/url"
	"reflect"
	"strconv"
	"strings"
)

// Origin is where a setting's value comes from.
type Origin string

// The origins. A setting that the role does not use has none.
const (
	FromDefault     Origin = "default"
	FromEnvironment Origin = "environment"
	FromFile        Origin = "file"
	FromFlag        Origin = "flag"
)

// Origin returns where the value of the setting comes from.
func (c *Config) Origin(name string) Origin { return c.origins[name] }

// Value returns the value of the setting for display, with secrets removed. It is
// empty if there is no value or no such setting.
func (c *Config) Value(name string) string {
	s := Lookup(name)
	if c.origins[name] == "" {
		return ""
	}
	text := cmp.Or(c.texts[name], s.Default)
	if s.Kind == reflect.String {
		text = s.value(c).String() // derived, if it is a default
	}
	items := s.items(text)
	switch {
	case text == "":
		return ""
	case s.Secret == SecretWhole && len(items) > 1:
		return fmt.Sprintf("(%d secrets)", len(items))
	case s.Secret == SecretWhole:
		return "(secret)"
	case s.Secret == SecretURL:
		for i, item := range items {
			items[i] = redactURL(item)
		}
	}
	return strings.Join(items, ",")
}

// Secrets returns the values of a setting that is a list of secrets.
func (c *Config) Secrets(name string) []string {
	s := Lookup(name)
	if s.Secret != SecretWhole {
		return nil
	}
	list, _ := s.value(c).Interface().([]string)
	return list
}

// quote returns what a message may show of a refused value; empty if nothing.
func (s Setting) quote(text string) string {
	switch {
	case s.Secret == SecretWhole:
		return ""
	case s.Secret == SecretURL, strings.Contains(text, "://"), strings.Contains(text, "@"):
		return redactURL(text) // a login meant for another setting is hidden too
	}
	return strconv.Quote(text)
}

// redactURL hides a URL's login, query and fragment, and the whole text if it is
// not a URL or seems to have an unescaped password.
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
	u.RawQuery, u.Fragment = "", ""
	return u.String()
}
