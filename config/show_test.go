package config

import (
	"slices"
	"strings"
	"testing"
)

func TestRedactURL(t *testing.T) {
	for text, want := range map[string]string{
		"redis://127.0.0.1:6379/0":              "redis://127.0.0.1:6379/0",
		"redis://user:hunter2@redis:6379/0":     "redis://xxxxx@redis:6379/0",
		"redis://:hunt@er2@redis":               "redis://xxxxx@redis",
		"https://hunter2@host/path":             "https://xxxxx@host",
		"postgres://db/klinghook?password=hunt": "postgres://db/klinghook",
		"https://host/#hunter2":                 "https://host",
		"sqlite:/var/lib/a b.db?_key=hunter2":   "sqlite:/var/lib/a b.db",
		"postgres://user:12/hunter2@db/k":       "xxxxx",
		"postgres://user:12?hunter2@db/k":       "xxxxx",
		"postgres://user:12#hunter2@db/k":       "xxxxx",
		"redis://:%hunter2@redis":               "xxxxx",
		"redis:/hunter2":                        "xxxxx",
		"user:hunter2":                          "xxxxx",
		"host=db password=hunter2":              "xxxxx",
		"hunter2 redis://h":                     "xxxxx",
	} {
		if got := redactURL(text); got != want {
			t.Errorf("redactURL(%q) = %q, want %q", text, got, want)
		}
	}
}

func TestValueHidesSecrets(t *testing.T) {
	c, err := Load(Dev, environment(map[string]string{
		"KLINGAI_WEBHOOK_SECRET":          "hunter2,hunter3",
		"KLINGAI_OFFICIAL_WEBHOOK_SECRET": goodSigningSecret,
		"KLINGHOOK_DATABASE_URL":          "postgres://user:hunter2@db/klinghook",
		"KLINGHOOK_FORWARD_URLS":          "https://a.example/x?token=hunter2,https://hunter2@b.example",
		"KLINGHOOK_FORWARD_SECRET":        goodSigningSecret,
		"KLINGHOOK_NOTIFY_URLS":           "slack://hunter2",
		"KLINGHOOK_NOTIFY_EVENTS":         "failed,completed",
		"KLINGHOOK_MAX_BODY":              "2048KiB",
		"KLINGHOOK_BUCKET_URL":            "s3://videos?region=eu-west-1",
		"KLINGHOOK_GRACE":                 "0s",
		"KLINGAI_API_KEY":                 "hunter2",
	}), map[string]string{"KLINGHOOK_LOG_LEVEL": "debug"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name, want string
		from       Origin
	}{
		{"KLINGAI_WEBHOOK_SECRET", "(2 secrets)", FromEnvironment},
		{"KLINGAI_OFFICIAL_WEBHOOK_SECRET", "(secret)", FromEnvironment},
		{"KLINGAI_API_KEY", "(secret)", FromEnvironment},
		{"KLINGHOOK_LOOKUP_GIVE_UP", "168h", FromDefault},
		{"KLINGHOOK_LOOKUP_RATE", "5", FromDefault},
		{"KLINGHOOK_ADDR", ":5000", FromDefault},
		{"KLINGHOOK_REDIS_URL", "redis://127.0.0.1:6379/0", FromDefault},
		{"KLINGHOOK_DATABASE_URL", "postgres://xxxxx@db/klinghook", FromEnvironment},
		{"KLINGHOOK_BUCKET_URL", "s3://videos?region=eu-west-1", FromEnvironment},
		{"KLINGHOOK_FORWARD_URLS", "https://a.example,https://xxxxx@b.example", FromEnvironment},
		{"KLINGHOOK_FORWARD_SECRET", "(secret)", FromEnvironment},
		{"KLINGHOOK_NOTIFY_URLS", "(secret)", FromEnvironment},
		{"KLINGHOOK_NOTIFY_EVENTS", "failed,completed", FromEnvironment},
		{"KLINGHOOK_MEDIA_ALLOW", "", FromDefault},
		{"KLINGHOOK_MAX_BODY", "2048KiB", FromEnvironment},
		{"KLINGHOOK_QUEUES", "events=64,media=4,notify=8,rejections=1", FromDefault},
		{"KLINGHOOK_EVENT_SHARDS", "1", FromDefault},
		{"KLINGHOOK_GRACE", "0s", FromEnvironment},
		{"KLINGHOOK_LOG_LEVEL", "debug", FromFlag},
		{"KLINGHOOK_NONE", "", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got, from := c.Value(tt.name), c.Origin(tt.name); got != tt.want || from != tt.from {
				t.Errorf("got %q from %q, want %q from %q", got, from, tt.want, tt.from)
			}
		})
	}
}

func TestProblemsShowNoSecret(t *testing.T) {
	texts := []string{
		"hunter2", "hunter2,", "hunter2\nhunter2", "whsec_hunter2", "whsec_=hunter2", "user:hunter2", "://hunter2", "hunter2://", "hunter2 redis://h",
		"redis://user:hunter2@", "redis://:hunter2@redis/x", "redis://:1/hunter2@redis", "redis://redis/x?password=hunter2",
		"postgres://user:hunter2@", "postgres://user:1#hunter2@db/x", "http://user:hunter2@:80", "https://:hunter2@host:port", "https://host:port/?t=hunter2",
		"ftp://user:hunter2@host", "s3://key:hunter2@bucket", "host=db password=hunter2", "user:hunter2@host",
	}
	for _, s := range Settings() {
		for _, text := range texts {
			// A setting without a secret may be shown, but not the login of a URL.
			if s.Secret == SecretNone && !strings.Contains(text, "hunter2@") {
				continue
			}
			// A scheme is shown.
			if s.Secret == SecretURL && strings.HasPrefix(text, "hunter2://") {
				continue
			}
			_, err := Load(All, []string{s.Name + "=" + text}, nil, nil)
			if err != nil && strings.Contains(err.Error(), "hunter2") {
				t.Errorf("%s=%q: %v", s.Name, text, err)
			}
		}
	}
}

func TestSecretsReturnsOnlyLists(t *testing.T) {
	c, err := Load(Dev, []string{"KLINGAI_WEBHOOK_SECRET=new,old", "KLINGAI_API_KEY=key"}, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string][]string{
		"KLINGAI_WEBHOOK_SECRET": {"new", "old"}, "KLINGAI_OFFICIAL_WEBHOOK_SECRET": nil, "KLINGHOOK_MEDIA_ALLOW": nil, "KLINGHOOK_NONE": nil,
	} {
		if got := c.Secrets(name); !slices.Equal(got, want) {
			t.Errorf("Secrets(%s) = %q, want %q", name, got, want)
		}
	}
}
