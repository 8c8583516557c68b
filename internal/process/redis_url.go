package process

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
)

// redisKind is what a URL names: one server, the Sentinels that watch over several,
// or a cluster.
type redisKind string

const (
	kindServer   redisKind = "redis"
	kindSentinel redisKind = "redis-sentinel"
	kindCluster  redisKind = "redis-cluster"
)

// redisAddress is a Redis URL without what go-redis does not know.
type redisAddress struct {
	kind redisKind
	// url is for go-redis to parse; its scheme is redis, rediss or unix.
	url *url.URL
	// tls is nil without TLS.
	tls *tls.Config
	// user and password are Redis's.
	user, password string
	// These are set for Sentinels only: the name of what they watch, and their own
	// login.
	master, sentinelUser, sentinelPassword string
}

// errRedisURL says nothing of the URL: a password with a character that should have
// been escaped can end up in any part of it.
var errRedisURL = errors.New("read Redis URL: write redis://[user:password@]host:6379/0, unix:///path/to.sock, " +
	"redis-sentinel://[user:password@]sentinel-1:26379/mymaster/0?addr=sentinel-2:26379 or redis-cluster://[user:password@]node-1:6379?addr=node-2:6379, " +
	"with rediss for redis where there is TLS, and with the options that go-redis knows; write special characters of the password as %2F and the like")

// parseAddress reads what go-redis leaves to its callers.
func parseAddress(redisURL string) (redisAddress, error) {
	u, err := url.Parse(redisURL)
	if err != nil || strings.Contains(u.Host, ",") { // further hosts are in the query
		return redisAddress{}, errRedisURL
	}
	base, kind, _ := strings.Cut(u.Scheme, "-")
	a := redisAddress{url: u, user: u.User.Username()}
	a.password, _ = u.User.Password()
	switch u.Scheme {
	case "redis", "rediss", "unix":
		a.kind = kindServer
	case "redis-sentinel", "rediss-sentinel", "redis-cluster", "rediss-cluster":
		a.kind = redisKind("redis-" + kind)
		u.Scheme = base
	default:
		return redisAddress{}, errRedisURL
	}
	query := u.Query()
	if readsReplicas(query) {
		return redisAddress{}, errors.New("read Redis URL: it has an option by which replicas are read, which lag behind; klinghook reads where it writes: leave it out")
	}
	if err := a.takeTLS(query, base == "rediss"); err != nil {
		return redisAddress{}, fmt.Errorf("read Redis URL: %w", err)
	}
	if a.kind == kindSentinel {
		if err := a.takeSentinels(query); err != nil {
			return redisAddress{}, err
		}
	}
	if a.kind == kindCluster && strings.Trim(u.Path, "/") != "" && strings.Trim(u.Path, "/") != "0" {
		return redisAddress{}, errors.New("read Redis URL: a cluster has no databases; leave the path out")
	}
	u.RawQuery = query.Encode()
	return a, nil
}

// readsReplicas reports whether one of go-redis's options for reading from replicas
// is there.
func readsReplicas(query url.Values) bool {
	for _, option := range []string{"replica_only", "read_only", "route_by_latency", "route_by_latency_tolerance", "route_randomly", "use_disconnected_replicas"} {
		if query.Has(option) {
			return true
		}
	}
	return false
}

// takeSentinels takes the master's name from the path and the Sentinels' login from
// the query.
func (a *redisAddress) takeSentinels(query url.Values) error {
	name, database, _ := strings.Cut(strings.Trim(a.url.Path, "/"), "/")
	if name == "" || query.Has("username") || query.Has("password") || query.Has("master_name") {
		return errRedisURL
	}
	a.master = name
	a.url.Path, a.url.RawPath, a.url.User = "/"+database, "", nil
	a.sentinelUser, a.sentinelPassword = query.Get("sentinel_username"), query.Get("sentinel_password")
	query.Del("sentinel_username")
	query.Del("sentinel_password")
	return nil
}

// takeTLS takes the options of TLS from the query.
func (a *redisAddress) takeTLS(query url.Values, on bool) error {
	option := func(name string) string {
		defer query.Del(name)
		return query.Get(name)
	}
	ca, cert, key, serverName := option("ca_file"), option("cert_file"), option("key_file"), option("server_name")
	if !on {
		if ca+cert+key+serverName != "" {
			return errors.New("ca_file, cert_file, key_file and server_name are for TLS: begin with rediss, or leave them out")
		}
		return nil
	}
	a.tls = &tls.Config{MinVersion: tls.VersionTLS12, ServerName: serverName}
	if ca != "" {
		pem, err := os.ReadFile(ca)
		if err != nil {
			return fmt.Errorf("ca_file: %w", err)
		}
		a.tls.RootCAs = x509.NewCertPool()
		if !a.tls.RootCAs.AppendCertsFromPEM(pem) {
			return fmt.Errorf("ca_file: %s holds no certificate in PEM", ca)
		}
	}
	if cert == "" && key == "" {
		return nil
	}
	if cert == "" || key == "" {
		return errors.New("cert_file and key_file belong together: name both, or neither")
	}
	load := func() (*tls.Certificate, error) {
		pair, err := tls.LoadX509KeyPair(cert, key)
		if err != nil {
			return nil, fmt.Errorf("cert_file and key_file: %w", err)
		}
		return &pair, nil
	}
	if _, err := load(); err != nil {
		return err
	}
	// Read again for each connection, so that one who renews them restarts nothing.
	a.tls.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return load() }
	return nil
}
