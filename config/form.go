package config

import (
	"encoding/base64"
	"errors"
	"math"
	"net"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// form describes the values of some settings.
type form struct {
	words   string            // completes "must be …"
	example string            // completes "such as …"
	valid   func(string) bool // checks the value, or one item of a list
}

// rule says what a value must be.
func (f form) rule() string { return "must be " + f.words + ", such as " + f.example }

const (
	newSecret = `what this prints: printf 'whsec_%s\n' "$(openssl rand -base64 32)"`
	escape    = " (in a password, write / ? # @ % as %2F %3F %23 %40 %25)"
)

// forms are the forms by the names in the form tags.
var forms = map[string]form{
	"secret":          {"a secret", "the one that Kling shows once", isText},
	"secrets":         {"secrets separated by commas", "<the new one>,<the old one>", isText},
	"signing-secret":  {"whsec_ and a key in base64", newSecret, isSigningSecret},
	"signing-secrets": {"secrets separated by commas, each whsec_ and a key in base64", "whsec_<the new key>,whsec_<the old key>", isSigningSecret},
	"tokens":          {"tokens separated by commas, each at least 32 letters, digits, - or _", "what this prints: openssl rand -hex 32", regexp.MustCompile(`^[A-Za-z0-9_-]{32,}$`).MatchString},
	"otlp-headers":    {"name=value pairs separated by commas", "x-api-key=…", isText},
	"name":            {"a name", "operator", isText},
	"user-names":      {"user names separated by commas", "ann,bob@example.com", isText},
	"password-hash":   {"a bcrypt hash of cost 10 to 16", "what this prints: klinghook admin hash-password (in a Compose file, write each $ as $$)", regexp.MustCompile(`^\$2[aby]?\$1[0-6]\$[./A-Za-z0-9]{53}$`).MatchString},
	"header-name":     {"the name of a header", "X-Forwarded-User", regexp.MustCompile(`^[A-Za-z][A-Za-z0-9-]*$`).MatchString},
	"networks":        {"IP addresses or networks separated by commas, but not a network of all addresses", "10.0.0.7,10.1.0.0/16", isNetwork},
	"host-or-network": {"host names, IP addresses or networks separated by commas", "intern.example.com,203.0.113.0/24", func(item string) bool { return isHost(item) || isNetwork(item) }},
	"host-names":      {"host names or addresses without ports, separated by commas", "queue.example.com", isHost},
	"path-prefix":     {"a path that starts with / and does not end with it, of letters, digits, -, _ and .", "/klinghook", regexp.MustCompile(`^(/[A-Za-z0-9_-][A-Za-z0-9._-]*)+$`).MatchString},
	"listen-address":  {"host:port", ":5000 or 127.0.0.1:5001", func(item string) bool { return isAddress(item, 0) }},
	"hosts":           {"host:port pairs separated by commas", "cdn.internal:443,10.0.0.7:8080", func(item string) bool { return !strings.HasPrefix(item, ":") && isAddress(item, 1) }},
	"base-url":        {"an HTTP URL without login, query or fragment", "https://api.klingai.com", func(item string) bool { return isHTTPURL(item) && !strings.ContainsAny(item, "?#@") }},
	"http-urls":       {"HTTP URLs separated by commas", "https://app.example.com/hooks/kling", isHTTPURL},
	"service-urls":    {"URLs separated by commas or spaces", "discord://token@id,smtp://user:password@mail.example.com:587/?from=a@example.com&to=b@example.com", regexp.MustCompile(`^[A-Za-z][A-Za-z0-9+.-]*://`).MatchString},
	"redis-url":       {"a redis://, rediss:// or unix:// URL", "redis://user:password@127.0.0.1:6379/0" + escape, isRedisURL},
	"redis-mode":      {"single, sentinel or cluster", "sentinel", regexp.MustCompile(`^(?:single|sentinel|cluster)$`).MatchString},
	"database-url":    {"sqlite:<path> or a postgres:// URL", "postgres://user:password@127.0.0.1:5432/klinghook" + escape, isDatabaseURL},
	"bucket-url":      {"a file://, s3://, gs:// or azblob:// URL without login", "file:///srv/media or s3://bucket?region=eu-west-1", regexp.MustCompile(`^(?:file:///|(?:s3|gs|azblob)://[^/?@]+(?:[/?]|$))`).MatchString},
	"path":            {"a path without ~", "/var/lib/klinghook", func(item string) bool { return !strings.HasPrefix(item, "~") }},
	"rate":            {"a number above 0", "5", func(item string) bool { n, err := strconv.ParseFloat(item, 64); return err == nil && n > 0 && n <= 1e6 }},
	"count":           {"a whole number above 0", "4", regexp.MustCompile(`^[1-9][0-9]{0,8}$`).MatchString},
	"switch":          {"true or false", "true", func(item string) bool { _, err := strconv.ParseBool(item); return err == nil }},
	"size":            {"a size above 0 with a unit such as B, KiB, MiB or GiB", "1MiB", func(item string) bool { return ParseSize(item) > 0 }},
	"duration":        {"a duration with a unit, ms, s, m or h", "30s", func(item string) bool { return isDuration(item, 0, math.MaxInt64) }},
	"link-lifetime":   {"0s, or between 1m and 168h", "24h", func(item string) bool { return isDuration(item, time.Minute, 7*24*time.Hour) || isDuration(item, 0, 0) }},
	"retention":       {"a time with a unit, d, h or m, or keep", "90d", func(item string) bool { _, err := parseRetention(item); return err == nil }},
	"queue-timeout":   {"between 1ms and 2s", "250ms", func(item string) bool { return isDuration(item, time.Millisecond, 2*time.Second) }},
	"template":        {"a Go text/template", "{{.Title}}: {{.Job.Prompt}}", isText},
	"events":          {"event types separated by commas", "completed,failed", isText},
	"queues":          {"queue=tasks pairs separated by commas", "events=64,media=4", regexp.MustCompile(`^[a-z]+=[1-9][0-9]{0,8}$`).MatchString},
	"media-kinds":     {"kinds of files separated by commas", "video,image", isText},
	"log-level":       {"debug, info, warn or error", "info", regexp.MustCompile(`^(?:debug|info|warn|error)$`).MatchString},
	"log-format":      {"auto, console or json", "console", regexp.MustCompile(`^(?:auto|console|json)$`).MatchString},
}

// isText accepts any text: Setting.damage finds damaged ones.
func isText(string) bool { return true }

func isDuration(item string, least, most time.Duration) bool {
	d, err := time.ParseDuration(item)
	return err == nil && d >= least && d <= most
}

// parseRetention reads a number of days, a duration, or "keep".
func parseRetention(text string) (Retention, error) {
	if text == "keep" {
		return 0, nil
	}
	if days, found := strings.CutSuffix(text, "d"); found {
		if n, err := strconv.ParseUint(days, 10, 16); err == nil && n > 0 {
			return Retention(n) * Retention(24*time.Hour), nil
		}
	}
	d, err := time.ParseDuration(text)
	if err == nil && d <= 0 {
		err = errors.New("not above 0")
	}
	return Retention(d), err
}

var units = map[string]float64{
	"": 1, "b": 1, "k": 1e3, "kb": 1e3, "kib": 1 << 10, "m": 1e6, "mb": 1e6, "mib": 1 << 20,
	"g": 1e9, "gb": 1e9, "gib": 1 << 30, "t": 1e12, "tb": 1e12, "tib": 1 << 40,
}

// ParseSize returns a size such as 512KiB, 1.5GB or 4096 in bytes, or 0 if text is not
// a size above 0.
func ParseSize(text string) int64 {
	number := strings.TrimRight(text, "BKMGTIbkmgti")
	size, _ := strconv.ParseFloat(strings.TrimSuffix(number, " "), 64)                           // 0 if it is no number
	if size *= units[strings.ToLower(text[len(number):])]; !(size > 0 && size < math.MaxInt64) { // NaN is neither
		return 0
	}
	return int64(size)
}

func isSigningSecret(item string) bool { return keyOf(item) != item }

// keyOf returns the key in a secret such as whsec_dGhlIGtleQ==, else the secret.
func keyOf(secret string) string {
	encoded, found := strings.CutPrefix(secret, "whsec_")
	if key, err := base64.StdEncoding.DecodeString(encoded); found && err == nil && len(key) > 0 {
		return string(key)
	}
	return secret
}

func isNetwork(item string) bool {
	_, err := netip.ParseAddr(item)
	network, _ := netip.ParsePrefix(item)
	return err == nil || network.Bits() > 0
}

// isHost accepts an address or a DNS name; an international name must be xn--….
func isHost(item string) bool {
	_, err := netip.ParseAddr(item)
	ascii := strings.IndexFunc(item, func(r rune) bool { return r > 0x7e }) < 0
	return err == nil || ascii && !strings.ContainsAny(item, ":/@ ")
}

// isAddress reports whether item is host:port with a port from lowest up.
func isAddress(item string, lowest uint64) bool {
	host, port, err := net.SplitHostPort(item)
	if err != nil || !isHost(host) {
		return false
	}
	n, err := strconv.ParseUint(port, 10, 16)
	return err == nil && n >= lowest
}

// parseURL returns nil if item is not a URL with one of the schemes.
func parseURL(item string, schemes ...string) *url.URL {
	u, err := url.Parse(item)
	if err != nil || !slices.Contains(schemes, u.Scheme) || !strings.Contains(item, "://") {
		return nil
	}
	return u
}

// isMisread reports whether a URL has an @ after its host: then a character of
// its password is not escaped.
func isMisread(u *url.URL) bool {
	return strings.Contains(u.EscapedPath()+u.RawQuery+u.EscapedFragment(), "@")
}

func isHTTPURL(item string) bool {
	u := parseURL(item, "http", "https")
	return u != nil && u.Hostname() != ""
}

// isRedisURL leaves the path and the query to go-redis, which knows its options.
func isRedisURL(item string) bool {
	if u := parseURL(item, "unix"); u != nil {
		return u.Host == "" && u.Path != "" && !isMisread(u)
	}
	u := parseURL(item, "redis", "rediss")
	return u != nil && u.Hostname() != "" && !isMisread(u) && !strings.Contains(u.Host, ",")
}

func isDatabaseURL(item string) bool {
	if path, found := strings.CutPrefix(item, "sqlite:"); found {
		return path != "" && !strings.HasPrefix(path, "~") && (!strings.HasPrefix(path, "//") || strings.HasPrefix(path, "///"))
	}
	u := parseURL(item, "postgres", "postgresql")
	// A server on a Unix socket is named in the query.
	return u != nil && !isMisread(u) && (u.Hostname() != "" || u.Query().Get("host") != "")
}

var (
	comma   = regexp.MustCompile(`,()`)
	nextURL = regexp.MustCompile(`[,\s]+([A-Za-z][A-Za-z0-9+.-]*://)`) // a URL may contain commas
)

// split splits a list at a separator, whose group begins the next item, and drops
// empty items.
func split(text string, separator *regexp.Regexp) []string {
	var items []string
	for item := range strings.SplitSeq(separator.ReplaceAllString(text, "\x00$1"), "\x00") {
		if item = strings.Trim(item, ", \t\r\n\v\f"); item != "" {
			items = append(items, item)
		}
	}
	return items
}
