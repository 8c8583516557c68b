package config

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

const (
	goodSecret        = "0123456789abcdef"
	goodSigningSecret = "whsec_dGVzdHNlY3JldHRlc3RzZWNyZXR0ZXN0c2VjcmV0MTI="
	goodHash          = "$2a$10$N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhWy"
	goodToken         = "0123456789abcdefABCDEF-_0123456789"
	nextSigningSecret = "whsec_bmV4dHNlY3JldG5leHRzZWNyZXRuZXh0c2VjcmV0MTI="
)

// environment turns pairs into the form of os.Environ.
func environment(pairs map[string]string) []string {
	var environ []string
	for name, value := range pairs {
		environ = append(environ, name+"="+value)
	}
	slices.Sort(environ)
	return environ
}

// problemsOf returns the problems of settings; nil if there are none.
func problemsOf(t *testing.T, role Role, pairs, flags map[string]string) []string {
	t.Helper()
	_, err := Load(role, environment(pairs), flags, nil)
	var problems *Error
	if err != nil && !errors.As(err, &problems) {
		t.Fatalf("Load: %v (%T), want an *Error", err, err)
	}
	if problems == nil {
		return nil
	}
	return problems.Problems
}

func TestLoadDefaults(t *testing.T) {
	media, err := filepath.Abs("klinghook-data/media")
	if err != nil {
		t.Fatal(err)
	}
	everything := Config{
		APIURL:       "https://api.klingai.com",
		Addr:         ":5000",
		AdminAddr:    "127.0.0.1:5001",
		RedisURL:     "redis://127.0.0.1:6379/0",
		RedisMode:    "single",
		DatabaseURL:  "sqlite:klinghook-data/klinghook.db",
		BucketURL:    "file://" + media,
		Data:         "./klinghook-data",
		SpoolDir:     "klinghook-data/spool",
		SpoolMaxSize: 1 << 30,
		QueueTimeout: 250 * time.Millisecond,
		MaxBody:      1 << 20,
		LookupAfter:  15 * time.Minute,
		LookupGiveUp: 7 * 24 * time.Hour,
		LookupRate:   5,
		LinkLifetime: 30 * 24 * time.Hour, StoredLinkLifetime: 24 * time.Hour,
		RetainEvents: Retention(90 * 24 * time.Hour),
		MediaMaxSize: 2 << 30,
		MediaKinds:   []string{"video", "image", "audio", "voice", "element", "thumbnail"},
		NotifyEvents: []string{"video.completed", "video.failed", "video.cancelled", "video.lost"},
		NotifyRate:   100,
		Queues:       map[string]int{"events": 64, "media": 4, "notify": 8, "rejections": 1},
		EventShards:  1,
		Grace:        30 * time.Second,
		LogLevel:     "info",
		LogFormat:    "auto",
	}
	worker := everything
	worker.Addr, worker.MaxBody, worker.SpoolDir, worker.SpoolMaxSize, worker.QueueTimeout = "", 0, "", 0, 0
	tests := []struct {
		name string
		role Role
		give map[string]string
		want Config
	}{
		{"all", All, nil, everything},
		{"worker", Worker, nil, worker},
		{"ingest", Ingest, map[string]string{"KLINGAI_WEBHOOK_SECRET": goodSecret}, Config{
			WebhookSecrets: []string{goodSecret}, Addr: ":5000", AdminAddr: "127.0.0.1:5001", RedisURL: "redis://127.0.0.1:6379/0", RedisMode: "single",
			Data: "./klinghook-data", SpoolDir: "klinghook-data/spool", SpoolMaxSize: 1 << 30, QueueTimeout: 250 * time.Millisecond, MaxBody: 1 << 20, EventShards: 1, Grace: 30 * time.Second, LogLevel: "info", LogFormat: "auto",
		}},
		{"admin", Admin, nil, Config{
			APIURL:    "https://api.klingai.com",
			AdminAddr: "127.0.0.1:5001", RedisURL: "redis://127.0.0.1:6379/0", RedisMode: "single", DatabaseURL: "sqlite:klinghook-data/klinghook.db", BucketURL: "file://" + media,
			Data: "./klinghook-data", LookupAfter: 15 * time.Minute, StoredLinkLifetime: 24 * time.Hour, EventShards: 1, Grace: 30 * time.Second, LogLevel: "info", LogFormat: "auto",
		}},
		{"store", Store, nil, Config{DatabaseURL: "sqlite:klinghook-data/klinghook.db", BucketURL: "file://" + media, Data: "./klinghook-data", LinkLifetime: 30 * 24 * time.Hour, StoredLinkLifetime: 24 * time.Hour}},
		{"prune", Prune, nil, Config{DatabaseURL: "sqlite:klinghook-data/klinghook.db", BucketURL: "file://" + media, Data: "./klinghook-data", RetainEvents: Retention(90 * 24 * time.Hour)}},
		{"client", Client, nil, Config{APIURL: "https://api.klingai.com", Addr: ":5000", Data: "./klinghook-data", LookupRate: 5}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := Load(tt.role, environment(tt.give), nil, nil)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(&tt.want, got, cmpopts.IgnoreUnexported(Config{})); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func TestLoadEveryVariable(t *testing.T) {
	give := map[string]string{
		"KLINGAI_WEBHOOK_SECRET":               " new , old,",
		"KLINGAI_OFFICIAL_WEBHOOK_SECRET":      goodSigningSecret + "," + nextSigningSecret,
		"KLINGHOOK_CALLBACK_TOKEN":             goodToken,
		"KLINGAI_API_KEY":                      "key",
		"KLINGAI_ACCESS_KEY":                   "access",
		"KLINGAI_SECRET_KEY":                   "hush",
		"KLINGAI_API_URL":                      "https://api-singapore.klingai.com",
		"KLINGHOOK_ADDR":                       "[::1]:0",
		"KLINGHOOK_ADMIN_ADDR":                 "localhost:9000",
		"KLINGHOOK_ADMIN_USER":                 "operator",
		"KLINGHOOK_ADMIN_PASSWORD_HASH":        goodHash,
		"KLINGHOOK_ADMIN_VIEWER_USER":          "guest",
		"KLINGHOOK_ADMIN_VIEWER_PASSWORD_HASH": goodHash,
		"KLINGHOOK_ADMIN_TOKEN":                goodToken,
		"KLINGHOOK_ADMIN_VIEWER_TOKEN":         goodToken,
		"KLINGHOOK_ADMIN_OPERATORS":            "ann, bob@example.com",
		"KLINGHOOK_ADMIN_PROXY_HEADER":         "X-Forwarded-User",
		"KLINGHOOK_ADMIN_PROXIES":              "10.0.0.7, fd00::/8",
		"KLINGHOOK_ADMIN_HOSTS":                "queue.example.com,10.0.0.9",
		"KLINGHOOK_ADMIN_PREFIX":               "/tools/klinghook",
		"KLINGHOOK_READ_ONLY":                  "true",
		"KLINGHOOK_PROFILES":                   "true",
		"KLINGHOOK_REDIS_URL":                  "rediss://me:pw@redis.internal:6380/2",
		"KLINGHOOK_REDIS_MODE":                 "cluster",
		"KLINGHOOK_REDIS_TLS_CA":               "/ca.pem",
		"KLINGHOOK_REDIS_TLS_CERT":             "/cert.pem",
		"KLINGHOOK_REDIS_TLS_KEY":              "/key.pem",
		"KLINGHOOK_REDIS_TLS_SERVER_NAME":      "redis.example",
		"KLINGHOOK_DATABASE_URL":               "postgresql://me:pw@db.internal/klinghook?sslmode=require",
		"KLINGHOOK_COPY_FROM":                  "sqlite:old.db",
		"KLINGHOOK_BUCKET_URL":                 "s3://videos?region=eu-west-1",
		"KLINGHOOK_DATA":                       "/var/lib/klinghook",
		"KLINGHOOK_SPOOL_DIR":                  "/var/spool/klinghook",
		"KLINGHOOK_SPOOL_MAX_SIZE":             "2GiB",
		"KLINGHOOK_NO_SPOOL":                   "true",
		"KLINGHOOK_MAX_BODY":                   "512KiB",
		"KLINGHOOK_MEDIA_ALLOW":                "127.0.0.1:8080, cdn.internal:443,",
		"KLINGHOOK_MEDIA_DENY":                 "intern.example.com,203.0.113.0/24",
		"KLINGHOOK_MEDIA_ONLY":                 "klingai.com",
		"KLINGHOOK_MEDIA_FAKE_IP":              "true",
		"KLINGHOOK_MEDIA_MAX_SIZE":             "3GB",
		"KLINGHOOK_MEDIA_KINDS":                "image, watermark",
		"KLINGHOOK_LOOKUP_AFTER":               "5m",
		"KLINGHOOK_LOOKUP_GIVE_UP":             "48h",
		"KLINGHOOK_LOOKUP_RATE":                "0.5",
		"KLINGHOOK_LINK_LIFETIME":              "1h",
		"KLINGHOOK_STORED_LINK_LIFETIME":       "1h",
		"KLINGHOOK_RETAIN_EVENTS":              "36h",
		"KLINGHOOK_RETAIN_JOBS":                "400d",
		"KLINGHOOK_RETAIN_MEDIA":               "keep",
		"KLINGHOOK_SAMPLE_URL":                 "http://sample.internal:8082",
		"KLINGHOOK_NOTIFY_URLS":                "smtp://u:p@mail:25/?to=a@x.org,b@x.org,discord://t@i",
		"KLINGHOOK_NOTIFY_EVENTS":              "failed, video.completed",
		"KLINGHOOK_NOTIFY_TEXT":                " \"{{.Title}}\"\n⚠️",
		"KLINGHOOK_NOTIFY_RATE":                "0.5",
		"KLINGHOOK_FORWARD_URLS":               "https://a.example/?t=1,2 http://b.example",
		"KLINGHOOK_FORWARD_SECRET":             goodSigningSecret,
		"KLINGHOOK_DESTINATIONS":               "d.yaml",
		"KLINGHOOK_ALERT_URLS":                 "discord://t@i",
		"KLINGHOOK_QUEUES":                     "media=2",
		"KLINGHOOK_EVENT_SHARDS":               "64",
		"KLINGHOOK_QUEUE_TIMEOUT":              "1.5s",
		"KLINGHOOK_GRACE":                      "0s",
		"KLINGHOOK_LOG_LEVEL":                  "debug",
		"KLINGHOOK_LOG_FORMAT":                 "json",
		"OTEL_EXPORTER_OTLP_ENDPOINT":          "https://otel.example:4318",
		"OTEL_EXPORTER_OTLP_HEADERS":           "x-api-key=a%2Cb,x=y",
		"PATH":                                 "/usr/bin",
	}
	want := &Config{
		WebhookSecrets:         []string{"new", "old"},
		OfficialWebhookSecrets: []string{goodSigningSecret, nextSigningSecret},
		CallbackTokens:         []string{goodToken},
		APIKey:                 "key",
		AccessKey:              "access",
		SecretKey:              "hush",
		APIURL:                 "https://api-singapore.klingai.com",
		Addr:                   "[::1]:0",
		AdminAddr:              "localhost:9000",
		AdminUser:              "operator",
		AdminPasswordHash:      goodHash,
		AdminViewer:            "guest",
		AdminViewerHash:        goodHash,
		AdminTokens:            []string{goodToken},
		AdminViewerTokens:      []string{goodToken},
		AdminOperators:         []string{"ann", "bob@example.com"},
		AdminProxyHeader:       "X-Forwarded-User",
		AdminProxies:           []string{"10.0.0.7", "fd00::/8"},
		AdminHosts:             []string{"queue.example.com", "10.0.0.9"},
		AdminPrefix:            "/tools/klinghook",
		ReadOnly:               true,
		Profiles:               true,
		RedisURL:               "rediss://me:pw@redis.internal:6380/2",
		RedisMode:              "cluster",
		RedisCA:                "/ca.pem",
		RedisCert:              "/cert.pem",
		RedisKey:               "/key.pem",
		RedisServerName:        "redis.example",
		DatabaseURL:            "postgresql://me:pw@db.internal/klinghook?sslmode=require",
		CopyFrom:               "sqlite:old.db",
		BucketURL:              "s3://videos?region=eu-west-1",
		Data:                   "/var/lib/klinghook",
		SpoolDir:               "/var/spool/klinghook",
		SpoolMaxSize:           2 << 30,
		NoSpool:                true,
		MaxBody:                512 << 10,
		MediaAllow:             []string{"127.0.0.1:8080", "cdn.internal:443"},
		MediaDeny:              []string{"intern.example.com", "203.0.113.0/24"},
		MediaOnly:              []string{"klingai.com"},
		MediaFakeIP:            true,
		MediaMaxSize:           3e9,
		RetainEvents:           Retention(36 * time.Hour),
		RetainJobs:             Retention(400 * 24 * time.Hour),
		MediaKinds:             []string{"image", "watermark"},
		LookupAfter:            5 * time.Minute,
		LookupGiveUp:           48 * time.Hour,
		LookupRate:             0.5,
		LinkLifetime:           time.Hour,
		StoredLinkLifetime:     time.Hour,
		SampleURL:              "http://sample.internal:8082",
		NotifyURLs:             URLs{"smtp://u:p@mail:25/?to=a@x.org,b@x.org", "discord://t@i"},
		NotifyEvents:           []string{"failed", "video.completed"},
		NotifyText:             " \"{{.Title}}\"\n⚠️",
		NotifyRate:             0.5,
		ForwardURLs:            URLs{"https://a.example/?t=1,2", "http://b.example"},
		ForwardSecret:          goodSigningSecret,
		Destinations:           "d.yaml",
		AlertURLs:              URLs{"discord://t@i"},
		Queues:                 map[string]int{"media": 2},
		EventShards:            64,
		QueueTimeout:           1500 * time.Millisecond,
		LogLevel:               "debug",
		LogFormat:              "json",
		OTLPEndpoint:           "https://otel.example:4318",
		OTLPHeaders:            "x-api-key=a%2Cb,x=y",
	}
	got, err := Load(All, environment(give), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreUnexported(Config{})); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	for _, s := range Settings() {
		if _, given := give[s.Name]; !given {
			t.Errorf("%s is not in this test", s.Name)
		}
	}
}

func TestDefaultsFollowData(t *testing.T) {
	c, err := Load(Dev, []string{"KLINGHOOK_DATA=/srv/a b"}, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if c.DatabaseURL != "sqlite:/srv/a b/klinghook.db" || c.BucketURL != "file:///srv/a%20b/media" || c.SpoolDir != "/srv/a b/spool" {
		t.Errorf("got %q, %q and %q", c.DatabaseURL, c.BucketURL, c.SpoolDir)
	}
}

func TestLoadSources(t *testing.T) {
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte("redis://file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	const name, nameFile = "KLINGHOOK_REDIS_URL", "KLINGHOOK_REDIS_URL_FILE"
	tests := []struct {
		name           string
		environ, flags map[string]string
		want           string
		from           Origin
	}{
		{"nothing", nil, nil, "redis://127.0.0.1:6379/0", FromDefault},
		{"empty variable", map[string]string{name: ""}, nil, "redis://127.0.0.1:6379/0", FromDefault},
		{"variable", map[string]string{name: "redis://env"}, nil, "redis://env", FromEnvironment},
		{"file", map[string]string{nameFile: file}, nil, "redis://file", FromFile},
		{"file beside an empty variable", map[string]string{name: "", nameFile: file}, nil, "redis://file", FromFile},
		{"variable beside an empty file variable", map[string]string{name: "redis://env", nameFile: ""}, nil, "redis://env", FromEnvironment},
		{"flag", map[string]string{name: "redis://env"}, map[string]string{name: "redis://flag"}, "redis://flag", FromFlag},
		{"flag over file", map[string]string{nameFile: file}, map[string]string{name: "redis://flag"}, "redis://flag", FromFlag},
		{"file flag over variable", map[string]string{name: "redis://env"}, map[string]string{nameFile: file}, "redis://file", FromFile},
		{"empty flag", map[string]string{name: "redis://env"}, map[string]string{name: ""}, "redis://127.0.0.1:6379/0", FromDefault},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, err := Load(Worker, environment(tt.environ), tt.flags, nil)
			if err != nil {
				t.Fatal(err)
			}
			if c.RedisURL != tt.want || c.Origin(name) != tt.from {
				t.Errorf("got %q from %q, want %q from %q", c.RedisURL, c.Origin(name), tt.want, tt.from)
			}
		})
	}
}

func TestSecretFiles(t *testing.T) {
	dir := t.TempDir()
	for _, content := range []string{"key\n", "key", "key\r\n"} {
		file := filepath.Join(dir, "key")
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := Load(Client, []string{"KLINGAI_API_KEY_FILE=" + file}, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		if c.APIKey != "key" {
			t.Errorf("APIKey of %q = %q, want key", content, c.APIKey)
		}
	}
	missing := filepath.Join(dir, "missing")
	for _, s := range Settings() {
		if s.Secret == SecretNone {
			continue
		}
		got := problemsOf(t, All, map[string]string{s.FileName(): missing}, nil)
		if len(got) != 1 || !strings.Contains(got[0], s.FileName()) || !strings.Contains(got[0], missing+": no such file") {
			t.Errorf("%s: problems %q", s.FileName(), got)
		}
	}
}

func TestLoadProblems(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(empty, []byte(" \n"), 0o600); err != nil {
		t.Fatal(err)
	}
	both := map[string]string{"KLINGAI_API_KEY": "key", "KLINGAI_API_KEY_FILE": empty}
	tests := []struct {
		name        string
		role        Role
		give, flags map[string]string
		want        []string // a part of each problem, in order
	}{
		{"ingest without a secret", Ingest, nil, nil, []string{"KLINGAI_WEBHOOK_SECRET, KLINGAI_OFFICIAL_WEBHOOK_SECRET, KLINGHOOK_CALLBACK_TOKEN are all unset"}},
		{"ingest with only a token", Ingest, map[string]string{"KLINGHOOK_CALLBACK_TOKEN": goodToken}, nil, nil},
		{"ingest with only an official secret", Ingest, map[string]string{"KLINGAI_OFFICIAL_WEBHOOK_SECRET": goodSigningSecret}, nil, nil},
		{"a bad secret is not a missing one", Ingest, map[string]string{"KLINGAI_WEBHOOK_SECRET": " , "}, nil, []string{
			"KLINGAI_WEBHOOK_SECRET (--klingai-webhook-secret-file): must be secrets separated by commas, but is empty",
		}},
		{"an unreadable secret is not a missing one", Ingest, map[string]string{"KLINGAI_WEBHOOK_SECRET_FILE": empty}, nil, []string{"KLINGAI_WEBHOOK_SECRET_FILE (--klingai-webhook-secret-file): "}},
		{"bad tokens", Admin, map[string]string{"KLINGHOOK_ADMIN_TOKEN": "guess", "KLINGHOOK_ADMIN_VIEWER_TOKEN": goodToken + "/"}, nil, []string{
			"KLINGHOOK_ADMIN_TOKEN (--admin-token-file): must be tokens separated by commas, each at least 32 letters",
			"KLINGHOOK_ADMIN_VIEWER_TOKEN (--admin-viewer-token-file): must be tokens",
		}},
		{"a retention of nothing", Prune, map[string]string{"KLINGHOOK_RETAIN_EVENTS": "0d", "KLINGHOOK_RETAIN_JOBS": "1y", "KLINGHOOK_RETAIN_MEDIA": "-1h"}, nil, []string{
			"KLINGHOOK_RETAIN_EVENTS (--retain-events) is \"0d\": must be a time with a unit, d, h or m, or keep",
			"KLINGHOOK_RETAIN_JOBS (--retain-jobs)", "KLINGHOOK_RETAIN_MEDIA (--retain-media)",
		}},
		{"one of several secrets", Dev, map[string]string{"KLINGAI_OFFICIAL_WEBHOOK_SECRET": goodSigningSecret + ",hunter2"}, nil, []string{" number 2 of 2: must be secrets"}},
		{"an access key without its secret key", Worker, map[string]string{"KLINGAI_ACCESS_KEY": "x"}, nil, []string{"KLINGAI_SECRET_KEY (--klingai-secret-key-file) must be set if KLINGAI_ACCESS_KEY is"}},
		{"a secret key without its access key", Client, map[string]string{"KLINGAI_SECRET_KEY": "x"}, nil, []string{"KLINGAI_ACCESS_KEY (--klingai-access-key-file) must be set"}},
		{"two kinds of credentials", Dev, map[string]string{"KLINGAI_API_KEY": "x", "KLINGAI_ACCESS_KEY": "x", "KLINGAI_SECRET_KEY": "x"}, nil, []string{"KLINGAI_API_KEY and KLINGAI_ACCESS_KEY are both set"}},
		{"a user without a password", Admin, map[string]string{"KLINGHOOK_ADMIN_USER": "me"}, nil, []string{"KLINGHOOK_ADMIN_PASSWORD_HASH (--admin-password-hash-file) must be set"}},
		{"a password instead of its hash", Admin, map[string]string{"KLINGHOOK_ADMIN_USER": "me", "KLINGHOOK_ADMIN_PASSWORD_HASH": "hunter2"}, nil, []string{
			"KLINGHOOK_ADMIN_PASSWORD_HASH (--admin-password-hash-file): must be a bcrypt hash of cost 10 to 16, such as what this prints: klinghook admin hash-password",
		}},
		{"one name for both users", Admin, map[string]string{
			"KLINGHOOK_ADMIN_USER": "me", "KLINGHOOK_ADMIN_PASSWORD_HASH": goodHash, "KLINGHOOK_ADMIN_VIEWER_USER": "me", "KLINGHOOK_ADMIN_VIEWER_PASSWORD_HASH": goodHash,
		}, nil, []string{"KLINGHOOK_ADMIN_VIEWER_USER must be another name than KLINGHOOK_ADMIN_USER"}},
		{"a proxy header from anybody", Admin, map[string]string{"KLINGHOOK_ADMIN_PROXY_HEADER": "X-User"}, nil, []string{"KLINGHOOK_ADMIN_PROXIES (--admin-proxies) must be set"}},
		{"a proxy without a header", Admin, map[string]string{"KLINGHOOK_ADMIN_PROXIES": "10.0.0.7"}, nil, nil},
		{"a certificate without its key", Replay, map[string]string{"KLINGHOOK_REDIS_TLS_CERT": "/c"}, nil, []string{"KLINGHOOK_REDIS_TLS_KEY (--redis-tls-key) must be set"}},
		{"forwarding unsigned", Worker, map[string]string{"KLINGHOOK_FORWARD_URLS": "https://a.example"}, nil, []string{
			`KLINGHOOK_FORWARD_SECRET (--forward-secret-file) must be set if KLINGHOOK_FORWARD_URLS is; it must be whsec_ and a key in base64, such as what this prints: printf 'whsec_%s\n' "$(openssl rand -base64 32)"`,
		}},
		{"everything is shown, even if a setting is missing", All, map[string]string{"KLINGHOOK_FORWARD_URLS": "https://a.example"}, nil, nil},
		{"a value and its file", Client, both, nil, []string{"KLINGAI_API_KEY and KLINGAI_API_KEY_FILE are both set; unset one"}},
		{"both as flags", Client, nil, both, []string{"KLINGAI_API_KEY and KLINGAI_API_KEY_FILE are both set; unset one"}},
		{"an empty file", Client, map[string]string{"KLINGAI_API_KEY_FILE": empty}, nil, []string{"KLINGAI_API_KEY_FILE (--klingai-api-key-file): " + empty + " is empty; name a readable file"}},
		{"a password in a flag", Replay, nil, map[string]string{"KLINGHOOK_DATABASE_URL": "postgres://me:hunter2@db/k"}, []string{
			"--database-url has a login, which other users of this machine can read; set KLINGHOOK_DATABASE_URL or name a file with --database-url-file",
		}},
		{"a token in a flag", Worker, nil, map[string]string{"KLINGHOOK_FORWARD_URLS": "https://a.example/?x=1&access_token=hunter2"}, []string{"--forward-urls has a login"}},
		{"a password in a flag's query", Migrate, nil, map[string]string{"KLINGHOOK_COPY_FROM": "postgres://db/k?password=hunter2"}, []string{
			"--copy-from has a login, which other users of this machine can read; set KLINGHOOK_COPY_FROM or name a file with --copy-from-file",
		}},
		{"a query without a password in a flag", Store, nil, map[string]string{"KLINGHOOK_DATABASE_URL": "postgres://db/k?sslmode=disable"}, nil},
		{"unused settings may be wrong", Ingest, map[string]string{
			"KLINGAI_WEBHOOK_SECRET": goodSecret, "KLINGHOOK_DATABASE_URL": "nonsense", "KLINGHOOK_QUEUES": "nonsense", "KLINGHOOK_FORWARD_SECRET_FILE": "/nowhere",
		}, nil, nil},
		{"a bad directory is one problem", Worker, map[string]string{"KLINGHOOK_DATA": "~/klinghook"}, nil, []string{`KLINGHOOK_DATA (--data) is "~/klinghook": must be a path without ~`}},
		{"everything at once, in order", Ingest, map[string]string{
			"KLINGHOOK_LOG_LEVEL": "loud", "KLINGHOOK_MAX_BODY": "much", "KLINGHOOK_ADDR": "5000", "KLINGHOOK_GRACE": "30", "KLINGHOOK_QUEUE_TIMEOUT": "3s",
		}, nil, []string{
			"KLINGAI_WEBHOOK_SECRET, ",
			`KLINGHOOK_ADDR (--addr) is "5000": must be host:port, such as :5000 or 127.0.0.1:5001`,
			`KLINGHOOK_QUEUE_TIMEOUT (--queue-timeout) is "3s": must be between 1ms and 2s`,
			`KLINGHOOK_MAX_BODY (--max-body) is "much": must be a size above 0 with a unit`,
			`KLINGHOOK_GRACE (--grace) is "30": must be a duration with a unit, ms, s, m or h, such as 30s`,
			`KLINGHOOK_LOG_LEVEL (--log-level) is "loud": must be debug, info, warn or error`,
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := problemsOf(t, tt.role, tt.give, tt.flags)
			if len(got) != len(tt.want) {
				t.Fatalf("problems %q, want %d", got, len(tt.want))
			}
			for i, want := range tt.want {
				if !strings.Contains(got[i], want) {
					t.Errorf("problem %d is\n%s\nwant in it\n%s", i, got[i], want)
				}
				if strings.Contains(got[i], "\n") {
					t.Errorf("problem %d has more than one line: %q", i, got[i])
				}
			}
		})
	}
}

func TestConfigOmitsSettingsOfOtherRoles(t *testing.T) {
	give := map[string]string{
		"KLINGAI_WEBHOOK_SECRET": goodSecret, "KLINGAI_API_KEY": "s", "KLINGHOOK_DATABASE_URL": "postgres://h/d",
		"KLINGHOOK_BUCKET_URL": "s3://b", "KLINGHOOK_QUEUES": "media=1", "KLINGHOOK_ADDR": ":1", "KLINGHOOK_READ_ONLY": "true",
	}
	for _, role := range []Role{Ingest, Worker, Dev, Admin, Store, Replay, Prune, Client} {
		c, err := Load(role, environment(give), nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range Settings() {
			if s.UsedBy(role) {
				continue
			}
			if !s.value(c).IsZero() || c.Value(s.Name) != "" || c.Origin(s.Name) != "" {
				t.Errorf("%s has %s: %v", role, s.Name, s.value(c))
			}
		}
	}
}

func TestChecksSeeEachItem(t *testing.T) {
	checks := Checks{"KLINGHOOK_NOTIFY_URLS": func(item string) error {
		if item == "slack://good" {
			return nil
		}
		return errors.New("is not good")
	}}
	_, err := Load(Dev, []string{"KLINGHOOK_NOTIFY_URLS=slack://good,slack://hunter2", "KLINGHOOK_MAX_BODY=x"}, nil, checks)
	var all *Error
	if !errors.As(err, &all) || len(all.Problems) != 2 {
		t.Fatalf("err = %v, want both problems", err)
	}
	if text := err.Error(); !strings.Contains(text, "number 2 of 2: is not good") || strings.Contains(text, "hunter2") {
		t.Errorf("err = %v, want the number of the item and not its value", err)
	}
}

func TestParseSize(t *testing.T) {
	for text, want := range map[string]int64{
		"1": 1, "4096B": 4096, "512KiB": 512 << 10, "512 kib": 512 << 10, "2MiB": 2 << 20, "1.5GB": 1_500_000_000, "1k": 1000, "2TiB": 2 << 40,
		"": 0, "0": 0, "-1": 0, "1iB": 0, "MiB": 0, "1PiB": 0, "9999999999TiB": 0,
	} {
		if got := ParseSize(text); got != want {
			t.Errorf("ParseSize(%q) = %d, want %d", text, got, want)
		}
	}
}
