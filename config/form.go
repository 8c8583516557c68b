package config

import (
	"cmp"
	"encoding/base64"
	"math"
	"net"
	"net/netip"
	"net/url"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/caarlos0/env/v11"
	"golang.org/x/crypto/bcrypt"
)

// form describes the values of some settings.
type form struct {
	words   string            // completes "must be …"
	example string            // completes "such as …"
	valid   func(string) bool // checks the value, or one item of a list
}

const (
	newSecret = `what this prints: printf 'whsec_%s\n' "$(openssl rand -base64 32)"`
	escape    = " (in a password, write / ? # @ % as %2F %3F %23 %40 %25)"
)

// forms are the forms by the names in the form tags.
var forms = map[string]form{
	"secret":          {"a secret on one line", "the one that Kling shows once", isOneLine},
	"secrets":         {"secrets separated by commas", "new,old", isOneLine},
	"signing-secret":  {"whsec_ and a key in base64", newSecret, isSigningSecret},
	"signing-secrets": {"secrets separated by commas, each whsec_ and a key in base64", "whsec_bmV3,whsec_b2xk", isSigningSecret},
	"tokens":          {"tokens separated by commas, each at least 32 letters, digits, - or _", "what this prints: openssl rand -hex 32", regexp.MustCompile(`^[A-Za-z0-9_-]{32,}$`).MatchString},
	"otlp-headers":    {"name=value pairs separated by commas", "x-api-key=…", isOneLine},
	"name":            {"a name", "operator", func(item string) bool { return isOneLine(item) && strings.TrimSpace(item) == item }},
	"password-hash":   {"a bcrypt hash of cost 10 to 16", "what this prints: klinghook admin hash-password (in a Compose file, write each $ as $$)", isPasswordHash},
	"header-name":     {"the name of a header", "X-Forwarded-User", regexp.MustCompile(`^[A-Za-z][A-Za-z0-9-]*$`).MatchString},
	"networks":        {"IP addresses or networks separated by commas, but not a network of all addresses", "10.0.0.7,10.1.0.0/16", isNetwork},
	"host-or-network": {"host names, IP addresses or networks separated by commas", "intern.example.com,203.0.113.0/24", isHostOrNetwork},
	"host-names":      {"host names or addresses without ports, separated by commas", "queue.example.com", isHost},
	"path-prefix":     {"a path that starts with / and does not end with it, of letters, digits, -, _ and .", "/klinghook", regexp.MustCompile(`^(/[A-Za-z0-9_-][A-Za-z0-9._-]*)+$`).MatchString},
	"listen-address":  {"host:port", ":5000 or 127.0.0.1:5001", func(item string) bool { return isAddress(item, 0) }},
	"hosts":           {"host:port pairs separated by commas", "cdn.internal:443,10.0.0.7:8080", func(item string) bool { return !strings.HasPrefix(item, ":") && isAddress(item, 1) }},
	"base-url":        {"an HTTP URL without login, query and fragment", "https://api.klingai.com", func(item string) bool { return isHTTPURL(item) && !strings.ContainsAny(item, "?#@") }},
	"http-urls":       {"HTTP URLs separated by commas", "https://app.example.com/hooks/kling", isHTTPURL},
	"service-urls":    {"URLs separated by commas or spaces", "discord://token@id,smtp://user:password@mail.example.com:587/?from=a@example.com&to=b@example.com", regexp.MustCompile(`^[A-Za-z][A-Za-z0-9+.-]*://`).MatchString},
	"redis-url":       {"a redis://, rediss:// or unix:// URL", "redis://user:password@127.0.0.1:6379/0" + escape, isRedisURL},
	"redis-mode":      choice("single", "sentinel", "cluster"),
	"database-url":    {"sqlite:<path> or a postgres:// URL", "postgres://user:password@127.0.0.1:5432/klinghook" + escape, isDatabaseURL},
	"bucket-url":      {"a file://, s3://, gs:// or azblob:// URL without login", "file:///srv/media or s3://bucket?region=eu-west-1", regexp.MustCompile(`^(?:file:///|(?:s3|gs|azblob)://[^/?@]+(?:[/?]|$))`).MatchString},
	"path":            {"a path without ~", "/var/lib/klinghook", func(item string) bool { return !strings.HasPrefix(item, "~") }},
	"rate":            {"a number above 0", "5", func(item string) bool { n, err := strconv.ParseFloat(item, 64); return err == nil && n > 0 && n <= 1e6 }},
	"count":           {"a whole number above 0", "4", regexp.MustCompile(`^[1-9][0-9]{0,8}$`).MatchString},
	"switch":          {"true or false", "true", func(item string) bool { _, err := strconv.ParseBool(item); return err == nil }},
	"size":            {"a size above 0 with a unit such as B, KiB, MiB or GiB", "1MiB", func(item string) bool { return ParseSize(item) > 0 }},
	"duration":        {"a duration with a unit, ms, s, m or h", "30s", func(item string) bool { return isDuration(item, 0, math.MaxInt64) }},
	"queue-timeout":   {"between 1ms and 2s", "250ms", func(item string) bool { return isDuration(item, time.Millisecond, 2*time.Second) }},
	"events":          {"event types separated by commas", "completed,failed", isOneLine},
	"queues":          {"queue=tasks pairs separated by commas", "events=64,media=4", regexp.MustCompile(`^[a-z]+=[1-9][0-9]{0,8}$`).MatchString},
	"log-level":       choice("debug", "info", "warn", "error"),
	"log-format":      choice("auto", "console", "json"),
}

func choice(words ...string) form {
	last := len(words) - 1
	return form{strings.Join(words[:last], ", ") + " or " + words[last], words[1], func(item string) bool { return slices.Contains(words, item) }}
}

func isOneLine(item string) bool { return !strings.ContainsFunc(item, unicode.IsControl) }

func isDuration(item string, least, most time.Duration) bool {
	d, err := time.ParseDuration(item)
	return err == nil && d >= least && d <= most
}

var sizeText = regexp.MustCompile(`(?i)^([0-9]+(?:\.[0-9]+)?) ?(?:([KMGT])(i?))?B?$`)

// ParseSize returns a size such as 512KiB, 1.5GB or 4096 in bytes, or 0 if text is not
// a size above 0.
func ParseSize(text string) int64 {
	match := sizeText.FindStringSubmatch(text)
	if match == nil {
		return 0
	}
	base := map[string]float64{"": 1000, "i": 1024}[strings.ToLower(match[3])]
	n, _ := strconv.ParseFloat(match[1], 64) // digits
	n *= math.Pow(base, float64(strings.Index(" KMGT", strings.ToUpper(cmp.Or(match[2], " ")))))
	if n >= math.MaxInt64 {
		return 0
	}
	return int64(n)
}

func isSigningSecret(item string) bool {
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(item, "whsec_"))
	return strings.HasPrefix(item, "whsec_") && err == nil && len(key) > 0 && isOneLine(item)
}

// isPasswordHash refuses hashes that are fast to guess or take minutes to check.
func isPasswordHash(item string) bool {
	cost, err := bcrypt.Cost([]byte(item))
	return err == nil && len(item) == 60 && cost >= 10 && cost <= 16
}

func isNetwork(item string) bool {
	_, err := netip.ParseAddr(item)
	network, _ := netip.ParsePrefix(item)
	return err == nil || network.Bits() > 0
}

// isHost accepts an address, or a name as in DNS: an international one as xn--….
func isHost(item string) bool {
	_, err := netip.ParseAddr(item)
	ascii := strings.IndexFunc(item, func(r rune) bool { return r > 0x7e }) < 0
	return err == nil || ascii && !strings.ContainsAny(item, ":/@ ")
}

func isHostOrNetwork(item string) bool { return isHost(item) || isNetwork(item) }

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
	u := parseURL(item, "redis", "rediss", "unix")
	switch {
	case u == nil || isMisread(u) || strings.Contains(u.Host, ","):
		return false
	case u.Scheme == "unix":
		return u.Host == "" && u.Path != ""
	}
	return u.Hostname() != ""
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

// parsers read the types that env reads differently.
var parsers = map[reflect.Type]env.ParserFunc{
	reflect.TypeFor[int64]():    func(text string) (any, error) { return ParseSize(text), nil },
	reflect.TypeFor[[]string](): func(text string) (any, error) { return split(text, comma), nil },
	reflect.TypeFor[URLs]():     func(text string) (any, error) { return URLs(split(text, nextURL)), nil },
}
