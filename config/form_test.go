package config

import (
	"strings"
	"testing"
)

func TestForms(t *testing.T) {
	tests := []struct {
		form, item string
		want       string // a piece of the error; empty when the item is good
	}{
		{"listen-address", ":5000", ""},
		{"listen-address", "[::1]:5000", ""},
		{"listen-address", "[fe80::1%eth0]:5000", ""},
		{"listen-address", "0.0.0.0:0", ""},
		{"listen-address", "my-host.local:65535", ""},
		{"listen-address", "5000", "has no port"},
		{"listen-address", "localhost", "has no port"},
		{"listen-address", "::1:5000", "IPv6 address without [ and ]"},
		{"listen-address", "localhost:65536", "0 to 65535"},
		{"listen-address", "localhost:-1", "0 to 65535"},
		{"listen-address", "localhost:http", "0 to 65535"},
		{"listen-address", "localhost:", "0 to 65535"},
		{"listen-address", "http://localhost:5000", "is a URL"},
		{"listen-address", "a b:5000", "neither a name nor an IP address"},

		{"user", "operator@example.com", ""},
		{"user", " operator", "white space around it"},
		{"password-hash", "$2a$10$N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhWy", ""},
		{"password-hash", "$2y$12$N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhWy", ""},
		{"password-hash", "$2y$05$N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhWy", "has the cost 5"},
		{"password-hash", "$2a$20$N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhWy", "has the cost 20"},
		{"password-hash", "a$10$N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhWy", "is not a bcrypt hash"},
		{"password-hash", "$apr1$k3bHT1dR$pWwb2DqnIHcnQiZmFSp8H0", "is not a bcrypt hash"},
		{"header-name", "X-Forwarded-User", ""},
		{"header-name", "Remote User", "not the name of a header"},
		{"header-name", "cookie", "browsers send themselves"},
		{"networks", "10.0.0.7", ""},
		{"networks", "fd00::/8", ""},
		{"networks", "proxy.internal", "neither an IP address nor a network"},
		{"networks", "0.0.0.0/0", "everybody is in"},
		{"host-names", "queue.example.com", ""},
		{"host-names", "2001:db8::1", ""},
		{"host-names", "queue.example.com:443", "neither a name nor an address"},
		{"host-names", "https://queue.example.com", "neither a name nor an address"},

		{"hosts", "cdn.internal:443", ""},
		{"hosts", "[2001:db8::1]:443", ""},
		{"hosts", ":443", "has no host"},
		{"hosts", "cdn.internal", "has no port"},
		{"hosts", "cdn.internal:0", "1 to 65535"},
		{"hosts", "10.0.0.0/8:443", "neither a name nor an IP address"},

		{"redis-url", "redis://127.0.0.1", ""},
		{"redis-url", "redis://:p%40ss%2Fword@redis:6379/15", ""},
		{"redis-url", "rediss://user:pw@redis:6380/0?dial_timeout=3s", ""},
		{"redis-url", "unix:///run/redis.sock?db=1", ""},
		{"redis-url", "unix://user:pw@/run/redis.sock", ""},
		{"redis-url", "unix://run/redis.sock", "absolute path"},
		{"redis-url", "unix://", "absolute path"},
		{"redis-url", "127.0.0.1:6379", "does not begin with redis:// or rediss:// or unix:// or redis-sentinel://"},
		{"redis-url", "localhost:6379", "does not begin with"},
		{"redis-url", "http://127.0.0.1", "does not begin with"},
		{"redis-url", "redis:///0", "has no host"},
		{"redis-url", "redis://redis/main", "not a database's number"},
		{"redis-url", "redis://redis/1/2", "not a database's number"},
		{"redis-url", "redis://redis/-1", "not a database's number"},
		{"redis-url", "redis://:p/ss@redis:6379/0", "is not a URL (in a password"},
		{"redis-url", "redis://u:12/3@redis:6379/0", "is not a URL (in a password"},
		{"redis-url", "rediss://redis:6380/0?ca_file=/etc/redis/ca.pem&cert_file=/c.pem&key_file=/k.pem", ""},
		{"redis-url", "redis-sentinel://user:pw@s1:26379/mymaster/0?addr=s2:26379&addr=s3:26379", ""},
		{"redis-url", "rediss-sentinel://s1/mymaster", ""},
		{"redis-url", "redis-sentinel://s1:26379", "has no name of a master after its host"},
		{"redis-url", "redis-sentinel://s1:26379/0", "has no name of a master after its host"},
		{"redis-url", "redis-sentinel://s1:26379/mymaster/main", "not a database's number"},
		{"redis-url", "redis-sentinel://s1:26379,s2:26379/mymaster/0", "&addr=host:port"},
		{"redis-url", "redis-sentinel:///mymaster/0", "has no host"},
		{"redis-url", "redis-cluster://user:pw@n1:6379?addr=n2:6379", ""},
		{"redis-url", "rediss-cluster://n1:6379/0", ""},
		{"redis-url", "redis-cluster://n1:6379/1", "has a database, of which a cluster has none"},
		{"redis-url", "redis-cluster://n1:6379,n2:6379", "&addr=host:port"},
		{"redis-url", "redis+sentinel://s1:26379/mymaster", "does not begin with"},

		{"database-url", "sqlite:klinghook.db", ""},
		{"database-url", "sqlite:/var/lib/klinghook.db", ""},
		{"database-url", "sqlite:///var/lib/klinghook.db", ""},
		{"database-url", "postgres://u:p@db:5432/klinghook?sslmode=disable", ""},
		{"database-url", "postgresql://db/klinghook", ""},
		{"database-url", "postgres:///klinghook?host=/run/postgresql", ""},
		{"database-url", "sqlite:", "has no path"},
		{"database-url", "sqlite://klinghook.db", "has // after sqlite:"},
		{"database-url", "sqlite:~/klinghook.db", "only a shell"},
		{"database-url", "klinghook.db", "neither with sqlite: nor with postgres://"},
		{"database-url", "host=db password=hunter2", "neither with sqlite: nor with postgres://"},
		{"database-url", "mysql://db/klinghook", "does not begin with postgres:// or postgresql://"},
		{"database-url", "Postgres://db/klinghook", "does not begin with"},
		{"database-url", "postgres:///klinghook", "has no host"},
		{"database-url", "postgres://u:12/3@db/klinghook", "is not a URL (in a password"},
		{"database-url", "postgres://u:12?3@db/klinghook", "is not a URL (in a password"},
		{"database-url", "postgres://u:12#3@db/klinghook", "is not a URL (in a password"},

		{"bucket-url", "file:///srv/media", ""},
		{"bucket-url", "s3://my_bucket?region=eu-west-1&endpoint=https://s3.internal", ""},
		{"bucket-url", "gs://bucket", ""},
		{"bucket-url", "azblob://container", ""},
		{"bucket-url", "/srv/media", "does not begin with file://"},
		{"bucket-url", "file://media", "has no absolute path"},
		{"bucket-url", "file://./media", "has no absolute path"},
		{"bucket-url", "s3://", "has no bucket's name"},
		{"bucket-url", "s3:///key", "has no bucket's name"},
		{"bucket-url", "s3://AKIA:hunter2@bucket", "has a login"},
		{"bucket-url", "mem://", "does not begin with"},

		{"http-url", "https://api-singapore.klingai.com", ""},
		{"http-url", "http://127.0.0.1:8080/base", ""},
		{"http-url", "api.klingai.com", "does not begin with http:// or https://"},
		{"http-url", "https://", "has no host"},
		{"http-url", "https://u:p@host", "has a login"},
		{"http-url", "https://host?x", "a query"},
		{"http-urls", "https://u:p@host/hooks?token=a@b", ""},
		{"http-urls", "ftp://host", "does not begin with"},
		{"http-urls", "https://host:port", "is not a URL"},

		{"service-urls", "generic+https://host/hook?template=json", ""},
		{"service-urls", "logger://", ""},
		{"service-urls", "hooks.slack.com/services/x", "does not begin with a service's scheme"},
		{"service-urls", "1st://x", "does not begin with a service's scheme"},

		{"secret", "any thing, really", ""},
		{"secret", "two\nlines", "a line break"},
		{"signing-secret", goodSigningSecret, ""},
		{"signing-secret", "dGVzdA==", "does not begin with whsec_"},
		{"signing-secret", "whsec_", "has nothing after whsec_"},
		{"signing-secret", "whsec_no base64", "has no base64 after whsec_"},
		{"signing-secret", "whsec_dGVzdA==\n", "a line break"},

		{"directory", "./klinghook-data", ""},
		{"directory", "~", "only a shell"},
		{"log-level", "warn", ""},
		{"log-level", "warning", "did you mean warn?"},
		{"log-level", "INFO", "is not one of its words"},
		{"log-format", "console", ""},
		{"log-format", "jsn", "did you mean json?"},
	}
	table := forms()
	for _, tt := range tests {
		t.Run(tt.form+" "+tt.item, func(t *testing.T) {
			err := table[tt.form].check(tt.item)
			switch {
			case tt.want == "" && err != nil:
				t.Errorf("refused: %v", err)
			case tt.want != "" && err == nil:
				t.Errorf("accepted, want %q", tt.want)
			case tt.want != "" && !strings.Contains(err.Error(), tt.want):
				t.Errorf("error %q, want %q in it", err, tt.want)
			}
		})
	}
}
