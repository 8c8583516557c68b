package config

import (
	"fmt"
	"net/url"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// Origin is where a setting's value is from.
type Origin string

// The origins of a value. That of a setting which the role does not use is "".
const (
	// FromDefault is a value that nobody set.
	FromDefault Origin = "default"
	// FromEnvironment is a value of the variable itself.
	FromEnvironment Origin = "environment"
	// FromFile is a value from the file that a _FILE variable or flag names.
	FromFile Origin = "file"
	// FromFlag is a value given to Load as an override.
	FromFlag Origin = "flag"
)

// Origin returns where the value of the setting of this name is from.
func (c *Config) Origin(name string) Origin {
	return c.origins[name]
}

// Value returns the effective value of the setting of this name for people to
// see: of a secret only that it is set, of a secret URL all but its login and
// query. It is empty where there is no value, or no such setting in the role.
func (c *Config) Value(name string) string {
	for _, s := range Settings() {
		if s.Name != name {
			continue
		}
		items := listOf(s.value(c))
		switch {
		case c.origins[name] == "", strings.Join(items, "") == "":
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
	return ""
}

// Secrets returns the values of a setting that is a list of secrets, by its
// variable's name; none when it is not set, or not a setting of the role.
func (c *Config) Secrets(name string) []string {
	for _, s := range Settings() {
		if list, ok := s.value(c).Interface().([]string); ok && s.Name == name {
			return list
		}
	}
	return nil
}

// listOf returns a field's value as text, item by item where it is a list.
func listOf(field reflect.Value) []string {
	switch v := field.Interface().(type) {
	case string:
		return []string{v}
	case bool:
		return []string{strconv.FormatBool(v)}
	case int:
		return []string{strconv.Itoa(v)}
	case float64:
		return []string{strconv.FormatFloat(v, 'g', -1, 64)}
	case int64:
		return []string{formatSize(v)}
	case time.Duration:
		return []string{formatDuration(v)}
	case Queues:
		return []string{v.String()}
	}
	items := make([]string, field.Len())
	for i := range items {
		items[i] = field.Index(i).String()
	}
	return items
}

// formatDuration writes a duration without the zeros that Go puts behind it.
func formatDuration(d time.Duration) string {
	text := d.String()
	if rest, ok := strings.CutSuffix(text, "m0s"); ok {
		text = rest + "m"
	}
	if rest, ok := strings.CutSuffix(text, "h0m"); ok {
		text = rest + "h"
	}
	return text
}

// show returns what a problem may quote of a value that was refused; empty when
// that is nothing.
func (s Setting) show(text string) string {
	switch s.Secret {
	case SecretWhole:
		return ""
	case SecretURL:
		return redactURL(text)
	}
	return quote(text)
}

// quote quotes a value that is no secret, unless it looks like a URL or a login
// that was meant for another setting.
func quote(text string) string {
	if strings.Contains(text, "://") || strings.Contains(text, "@") {
		return redactURL(text)
	}
	return strconv.Quote(text)
}

// hidden stands in the place of what is not shown.
const hidden = "xxxxx"

// redactURL hides a URL's login, query and fragment. Where an @ stands behind the
// host, what looks like host and path may be parts of a password with an
// unescaped character in it: of that it shows the scheme only, as of what is no
// URL at all.
func redactURL(text string) string {
	if strings.HasPrefix(text, "sqlite:") {
		path, _, found := strings.Cut(text, "?")
		if found {
			path += "?" + hidden
		}
		return path
	}
	u, err := url.Parse(text)
	if err != nil || schemeOf(text) == "" {
		return schemeOnly(text)
	}
	if strings.Contains(u.Host+u.Path+u.RawQuery+u.Fragment, "@") {
		return schemeOnly(text)
	}
	if u.User != nil {
		u.User = url.User(hidden)
	}
	if u.RawQuery != "" {
		u.RawQuery = hidden
	}
	if u.Fragment != "" {
		u.Fragment, u.RawFragment = hidden, ""
	}
	return u.String()
}

// schemeOnly returns the scheme of what may be a URL, for want of more that is
// safe to show.
func schemeOnly(text string) string {
	if scheme := schemeOf(text); scheme != "" {
		return scheme + "://" + hidden
	}
	return hidden
}
