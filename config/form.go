package config

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// form is what the values of some settings have in common.
type form struct {
	// words say what to write, and in which unit.
	words string
	// example is a value to write.
	example string
	// check refuses a value, or one of a list's items. Its errors go on where
	// "it" is the subject and hold nothing of the value. It is nil where a
	// field's type says it all.
	check func(item string) error
}

// secretCommand makes a secret of the form that Standard Webhooks signs with.
const secretCommand = `printf 'whsec_%s\n' "$(openssl rand -base64 32)"`

// forms returns every form by the name that the form tags have.
func forms() map[string]form {
	levels := []string{"debug", "info", "warn", "error"}
	formats := []string{"auto", "console", "json"}
	return map[string]form{
		"secret":          {"a secret", "the one that Kling shows once", checkSecret},
		"secrets":         {"secrets with commas between", "new,old", checkSecret},
		"signing-secret":  {"whsec_ and the base64 of a key", "what this prints: " + secretCommand, checkSigningSecret},
		"signing-secrets": {"secrets with commas between, each whsec_ and the base64 of a key", "whsec_bmV3,whsec_b2xk", checkSigningSecret},
		"http-url":        {"an HTTP URL", "https://api.klingai.com", checkHTTPBase},
		"http-urls":       {"HTTP URLs with commas between", "https://app.example.com/hooks/kling", checkHTTPURL},
		"service-urls":    {"URLs with commas or spaces between", "discord://token@id,smtp://user:password@mail.example.com:587/?from=a@example.com&to=b@example.com", checkServiceURL},
		"listen-address":  {"host:port", ":5000 or 127.0.0.1:5001", checkListenAddress},
		"hosts":           {"host:port items with commas between", "cdn.internal:443,10.0.0.7:8080", checkRemoteAddress},
		"redis-url":       {"a redis://, redis-sentinel://, redis-cluster:// or unix:// URL, with rediss for redis where there is TLS", "redis://user:password@127.0.0.1:6379/0 or redis-sentinel://user:password@sentinel-1:26379/mymaster/0?addr=sentinel-2:26379", checkRedisURL},
		"database-url":    {"sqlite:<path> or a postgres:// URL", "postgres://user:password@127.0.0.1:5432/klinghook", checkDatabaseURL},
		"bucket-url":      {"a file://, s3://, gs:// or azblob:// URL", "file:///srv/media or s3://bucket?region=eu-west-1", checkBucketURL},
		"directory":       {"a directory's path", "/var/lib/klinghook", checkDirectory},
		"rate":            {"a number above zero, to the second", "5", checkRate},
		"tokens":          {"tokens with commas between, each of 32 letters, digits, - and _ at least", "what this prints: openssl rand -hex 32", checkToken},
		"user":            {"a name", "operator", checkUser},
		"password-hash":   {"a bcrypt hash of cost 10 or more", "what this prints: klinghook admin hash-password", checkPasswordHash},
		"header-name":     {"a header's name", "X-Forwarded-User", checkHeaderName},
		"networks":        {"addresses or networks with commas between", "10.0.0.7,10.1.0.0/16", checkNetwork},
		"host-names":      {"names or addresses without a port and with commas between", "queue.example.com", checkHostName},
		"otlp-headers":    {"name=value items with commas between, the values escaped as in a URL", "x-api-key=…", checkSecret},
		"switch":          {"true or false", "true", nil},
		"size":            {"a number of bytes, or of KiB, MiB, GiB, KB, MB or GB", "1MiB", nil},
		"duration":        {"a number with its unit, ms, s, m or h", "30s", nil},
		"queue-timeout":   {"a time from 1ms to 2s", "250ms", checkQueueTimeout},
		"events":          {"event types with commas between, of " + strings.Join(EventTypes(), ", "), "completed,failed", nil},
		"queues":          {"queue=tasks pairs with commas between, of the queues " + strings.Join(QueueNames(), ", "), "events=64,media=4,notify=8,rejections=1", nil},
		"shards":          {fmt.Sprintf("a whole number from 1 to %d", MaxEventShards), "4", checkShards},
		"log-level":       {"debug, info, warn or error", "info", checkChoice(levels)},
		"log-format":      {"auto, console or json", "json", checkChoice(formats)},
	}
}

func checkChoice(choices []string) func(string) error {
	return func(item string) error {
		if slices.Contains(choices, item) {
			return nil
		}
		return fmt.Errorf("is not one of its words (did you mean %s?)", nearest(item, choices))
	}
}

func checkSecret(item string) error {
	if strings.ContainsFunc(item, unicode.IsControl) {
		return errors.New("holds a line break or another control character")
	}
	return nil
}

// checkToken wants what cannot be guessed, and can stand in a URL as it is.
func checkToken(item string) error {
	switch {
	case len(item) < 32:
		return errors.New("is short enough to be guessed")
	case strings.ContainsFunc(item, func(r rune) bool {
		return r > unicode.MaxASCII || !unicode.IsLetter(r) && !unicode.IsDigit(r) && r != '-' && r != '_'
	}):
		return errors.New("has a character that cannot stand in a URL")
	}
	return nil
}

func checkRate(item string) error {
	if n, err := strconv.ParseFloat(item, 64); err != nil || !(n > 0) || n > 1e6 {
		return errors.New("is not a rate")
	}
	return nil
}

func checkQueueTimeout(item string) error {
	if d, err := time.ParseDuration(item); err != nil || d < time.Millisecond || d > 2*time.Second {
		return errors.New("is none that a sender would wait for")
	}
	return nil
}

func checkShards(item string) error {
	if n, err := strconv.Atoi(item); err != nil || n > MaxEventShards {
		return errors.New("is too many")
	}
	return nil
}

func checkSigningSecret(item string) error {
	encoded, found := strings.CutPrefix(item, "whsec_")
	if !found {
		return errors.New("does not begin with whsec_")
	}
	if err := checkSecret(encoded); err != nil {
		return err
	}
	key, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		return errors.New("has no base64 after whsec_")
	}
	if len(key) == 0 {
		return errors.New("has nothing after whsec_")
	}
	return nil
}

func checkUser(item string) error {
	if strings.TrimSpace(item) != item || strings.ContainsFunc(item, unicode.IsControl) {
		return errors.New("has white space around it or a control character in it")
	}
	return nil
}

// checkPasswordHash accepts the versions of bcrypt that differ in name only. Below
// the least cost a hash that leaked is guessed too fast; htpasswd makes such ones.
func checkPasswordHash(item string) error {
	const leastCost, mostCost = 10, 16
	parts := regexp.MustCompile(`^\$2[aby]\$([0-9]{2})\$[./A-Za-z0-9]{53}$`).FindStringSubmatch(item)
	if parts == nil {
		return errors.New("is not a bcrypt hash (in a compose file each $ of it is written $$)")
	}
	switch cost, _ := strconv.Atoi(parts[1]); { // of two digits
	case cost < leastCost:
		return fmt.Errorf("has the cost %d, by which passwords are guessed too fast", cost)
	case cost > mostCost:
		return fmt.Errorf("has the cost %d, by which a login takes minutes", cost)
	}
	return nil
}

func checkHeaderName(item string) error {
	if !regexp.MustCompile(`^[A-Za-z][A-Za-z0-9-]*$`).MatchString(item) {
		return errors.New("is not the name of a header")
	}
	if slices.Contains([]string{"authorization", "cookie", "host", "origin"}, strings.ToLower(item)) {
		return errors.New("is a header that browsers send themselves")
	}
	return nil
}

// checkNetwork refuses the networks that everybody is in.
func checkNetwork(item string) error {
	if _, err := netip.ParseAddr(item); err == nil {
		return nil
	}
	network, err := netip.ParsePrefix(item)
	switch {
	case err != nil:
		return errors.New("has an item that is neither an IP address nor a network")
	case network.Bits() == 0:
		return errors.New("has a network that everybody is in")
	}
	return nil
}

func checkHostName(item string) error {
	if _, err := netip.ParseAddr(item); err == nil {
		return nil
	}
	if !isHostname(item) {
		return errors.New("has an item that is neither a name nor an address")
	}
	return nil
}

func checkDirectory(item string) error {
	if strings.HasPrefix(item, "~") {
		return errors.New("begins with ~, which only a shell replaces by a home directory")
	}
	return nil
}

// checkListenAddress accepts port 0, by which the system picks a free one.
func checkListenAddress(item string) error {
	_, err := splitAddress(item, 0)
	return err
}

func checkRemoteAddress(item string) error {
	host, err := splitAddress(item, 1)
	if err != nil {
		return err
	}
	if host == "" {
		return errors.New("has no host")
	}
	return nil
}

// splitAddress returns the host of a host:port whose port is a number, lowest
// at least.
func splitAddress(item string, lowest int) (host string, err error) {
	if strings.Contains(item, "://") {
		return "", errors.New("is a URL")
	}
	host, port, err := net.SplitHostPort(item)
	switch {
	case err != nil && strings.Count(item, ":") > 1 && !strings.HasPrefix(item, "["):
		return "", errors.New("has an IPv6 address without [ and ] around it")
	case err != nil:
		return "", errors.New("has no port")
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || int(n) < lowest {
		return "", fmt.Errorf("has a port that is not a number from %d to 65535", lowest)
	}
	if _, err := netip.ParseAddr(host); err != nil && !isHostname(host) {
		return "", errors.New("has a host that is neither a name nor an IP address")
	}
	return host, nil
}

// isHostname reports whether host has only the characters of host names.
func isHostname(host string) bool {
	return !strings.ContainsFunc(host, func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsDigit(r) && r != '.' && r != '-' && r != '_'
	})
}

// parseURL is url.Parse with errors that hold nothing of the URL.
func parseURL(item string, schemes ...string) (*url.URL, error) {
	if !slices.Contains(schemes, schemeOf(item)) {
		return nil, fmt.Errorf("does not begin with %s://", strings.Join(schemes, ":// or "))
	}
	u, err := url.Parse(item)
	if err != nil {
		return nil, errPassword
	}
	return u, nil
}

// errPassword is about the usual reason why a URL with a login is not read, or
// is read as another than was meant.
var errPassword = errors.New("is not a URL (in a password, write / as %2F, ? as %3F, # as %23, @ as %40 and % as %25)")

// parseServerURL is parseURL for servers that one logs in to. An @ behind the
// host is the end of a login that had an unescaped character in it.
func parseServerURL(item string, schemes ...string) (*url.URL, error) {
	u, err := parseURL(item, schemes...)
	if err == nil && strings.Contains(u.EscapedPath()+u.RawQuery+u.EscapedFragment(), "@") {
		return nil, errPassword
	}
	return u, err
}

// schemeOf returns what stands before the :// of a URL; empty when item has none
// or something else stands there.
func schemeOf(item string) string {
	scheme, _, found := strings.Cut(item, "://")
	first := strings.IndexFunc(scheme, func(r rune) bool { return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' })
	odd := strings.ContainsFunc(scheme, func(r rune) bool {
		return r > unicode.MaxASCII || !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune("+.-", r)
	})
	if !found || first != 0 || odd {
		return ""
	}
	return scheme
}

func checkHTTPURL(item string) error {
	u, err := parseURL(item, "http", "https")
	if err != nil {
		return err
	}
	if u.Hostname() == "" {
		return errors.New("has no host")
	}
	return nil
}

// checkHTTPBase accepts a URL to which paths can be added.
func checkHTTPBase(item string) error {
	if err := checkHTTPURL(item); err != nil {
		return err
	}
	if strings.ContainsAny(item, "?#@") {
		return errors.New("has a login, a query or a fragment")
	}
	return nil
}

// checkServiceURL leaves the rest to the library that knows the services.
func checkServiceURL(item string) error {
	if schemeOf(item) == "" {
		return errors.New("does not begin with a service's scheme and ://")
	}
	return nil
}

func checkDatabaseURL(item string) error {
	if path, found := strings.CutPrefix(item, "sqlite:"); found {
		switch {
		case path == "":
			return errors.New("has no path behind its scheme")
		case strings.HasPrefix(path, "//") && !strings.HasPrefix(path, "///"):
			return errors.New("has // after sqlite:, where the path to the file begins")
		}
		return checkDirectory(path)
	}
	if schemeOf(item) == "" {
		return errors.New("begins neither with sqlite: nor with postgres://")
	}
	u, err := parseServerURL(item, "postgres", "postgresql")
	if err != nil {
		return err
	}
	// A server on a Unix socket is named in the query.
	if u.Hostname() == "" && u.Query().Get("host") == "" {
		return errors.New("has no host")
	}
	return nil
}

func checkBucketURL(item string) error {
	u, err := parseURL(item, "file", "s3", "gs", "azblob")
	switch {
	case err != nil:
		return err
	case u.User != nil:
		return errors.New("has a login, which the cloud's own variables should hold")
	case u.Scheme == "file" && (u.Host != "" || !filepath.IsAbs(u.Path)):
		return errors.New("has no absolute path after file://")
	case u.Scheme != "file" && u.Host == "":
		return errors.New("has no bucket's name")
	}
	return nil
}
