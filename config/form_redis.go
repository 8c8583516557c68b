package config

import (
	"errors"
	"net/url"
	"strconv"
	"strings"
)

// checkRedisURL knows the forms that process.NewRedis reads; what is in a query is
// judged there.
func checkRedisURL(item string) error {
	u, err := parseServerURL(item, "redis", "rediss", "unix", "redis-sentinel", "rediss-sentinel", "redis-cluster", "rediss-cluster")
	switch {
	case err != nil:
		return err
	case u.Scheme == "unix" && (u.Host != "" || u.Path == ""):
		return errors.New("has no absolute path to a socket after unix://")
	case u.Scheme == "unix":
		return nil
	case strings.Contains(u.Host, ","):
		return errors.New("has several hosts before its path, where one belongs; the others go behind it, as ?addr=host:port&addr=host:port")
	case u.Hostname() == "":
		return errors.New("has no host")
	}
	return checkRedisPath(u)
}

// checkRedisPath wants a database's number, behind the master's name where there are
// Sentinels; none in a cluster.
func checkRedisPath(u *url.URL) error {
	path := strings.Trim(u.Path, "/")
	switch {
	case strings.HasSuffix(u.Scheme, "-cluster"):
		if path != "" && path != "0" {
			return errors.New("has a database, of which a cluster has none")
		}
		return nil
	case strings.HasSuffix(u.Scheme, "-sentinel"):
		master, database, _ := strings.Cut(path, "/")
		if _, err := strconv.Atoi(master); err == nil || master == "" {
			return errors.New("has no name of a master after its host, such as /mymaster/0")
		}
		path = database
	}
	if path == "" {
		return nil
	}
	if _, err := strconv.ParseUint(path, 10, 31); err != nil {
		return errors.New("has a path that is not a database's number")
	}
	return nil
}
