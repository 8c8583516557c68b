package config

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestEveryFieldHasItsTags(t *testing.T) {
	table := forms()
	used := map[string]bool{}
	config := reflect.TypeFor[Config]()
	for i := range config.NumField() {
		field := config.Field(i)
		if !field.IsExported() {
			continue
		}
		for _, tag := range []string{"env", "form", "secret", "roles", "help"} {
			if field.Tag.Get(tag) == "" {
				t.Errorf("%s has no %s tag", field.Name, tag)
			}
		}
		if help := field.Tag.Get("help"); !strings.HasSuffix(help, ".") {
			t.Errorf("%s: the help is no sentence: %q", field.Name, help)
		}
		if _, known := table[field.Tag.Get("form")]; !known {
			t.Errorf("%s has the form %q, which is not in the table", field.Name, field.Tag.Get("form"))
		}
		used[field.Tag.Get("form")] = true
		if secret := Secret(field.Tag.Get("secret")); !slices.Contains([]Secret{SecretNone, SecretURL, SecretWhole}, secret) {
			t.Errorf("%s has the secret tag %q", field.Name, secret)
		}
		for _, role := range strings.Fields(field.Tag.Get("roles")) {
			if !slices.Contains([]Role{Ingest, Worker, Dev, Admin, Store, Replay, Client}, Role(role)) {
				t.Errorf("%s has the role %q", field.Name, role)
			}
		}
	}
	for name := range table {
		if !used[name] {
			t.Errorf("no setting has the form %q", name)
		}
	}
}

// The names are a contract: scripts are written against them.
func TestSettingsNames(t *testing.T) {
	want := []string{
		"KLINGAI_WEBHOOK_SECRET", "KLINGAI_OFFICIAL_WEBHOOK_SECRET", "KLINGHOOK_CALLBACK_TOKEN",
		"KLINGAI_API_KEY", "KLINGAI_ACCESS_KEY", "KLINGAI_SECRET_KEY", "KLINGAI_API_URL",
		"KLINGHOOK_ADDR", "KLINGHOOK_ADMIN_ADDR",
		"KLINGHOOK_ADMIN_USER", "KLINGHOOK_ADMIN_PASSWORD_HASH", "KLINGHOOK_ADMIN_TOKEN", "KLINGHOOK_ADMIN_PROXY_HEADER", "KLINGHOOK_ADMIN_PROXIES", "KLINGHOOK_ADMIN_HOSTS", "KLINGHOOK_READ_ONLY",
		"KLINGHOOK_REDIS_URL", "KLINGHOOK_DATABASE_URL", "KLINGHOOK_BUCKET_URL",
		"KLINGHOOK_DATA", "KLINGHOOK_SPOOL_DIR", "KLINGHOOK_SPOOL_MAX_SIZE", "KLINGHOOK_NO_SPOOL", "KLINGHOOK_QUEUE_TIMEOUT", "KLINGHOOK_MAX_BODY", "KLINGHOOK_MEDIA_ALLOW", "KLINGHOOK_MEDIA_MAX_SIZE", "KLINGHOOK_LOOKUP_AFTER", "KLINGHOOK_LOOKUP_GIVE_UP",
		"KLINGHOOK_LOOKUP_RATE", "KLINGHOOK_LINK_LIFETIME", "KLINGHOOK_API_TOKEN", "KLINGHOOK_SAMPLE_URL", "KLINGHOOK_NOTIFY_URLS",
		"KLINGHOOK_NOTIFY_EVENTS", "KLINGHOOK_NOTIFY_RATE", "KLINGHOOK_FORWARD_URLS", "KLINGHOOK_FORWARD_SECRET", "KLINGHOOK_QUEUES", "KLINGHOOK_EVENT_SHARDS", "KLINGHOOK_GRACE",
		"KLINGHOOK_LOG_LEVEL", "KLINGHOOK_LOG_FORMAT",
		"OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_HEADERS",
	}
	var got []string
	for _, s := range Settings() {
		got = append(got, s.Name)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestSettings(t *testing.T) {
	type row struct {
		Flag, Default     string
		HasFlag, HasFile  bool
		FileName, Title   string
		ForIngest, ForAll bool
	}
	want := map[string]row{
		"KLINGHOOK_MAX_BODY":     {"max-body", "1MiB", true, false, "KLINGHOOK_MAX_BODY_FILE", "KLINGHOOK_MAX_BODY (--max-body)", true, true},
		"KLINGHOOK_DATABASE_URL": {"database-url", "sqlite:<data>/klinghook.db", true, true, "KLINGHOOK_DATABASE_URL_FILE", "KLINGHOOK_DATABASE_URL (--database-url)", false, true},
		"KLINGAI_API_KEY":        {"klingai-api-key", "", false, true, "KLINGAI_API_KEY_FILE", "KLINGAI_API_KEY (--klingai-api-key-file)", false, true},
	}
	got := map[string]row{}
	for _, s := range Settings() {
		if s.Form == "" || s.form.example == "" || s.Meaning == "" {
			t.Errorf("%s lacks words", s.Name)
		}
		if _, wanted := want[s.Name]; wanted {
			got[s.Name] = row{s.Flag, s.Default, s.HasFlag(), s.HasFile(), s.FileName(), s.title(), s.UsedBy(Ingest), s.UsedBy(All)}
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// What the documents give as a default is what Load takes for one.
func TestDefaultsAreOfTheirForm(t *testing.T) {
	c, err := Load(All, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range Settings() {
		if strings.Contains(s.Default, "<data>") {
			continue
		}
		if got := c.Value(s.Name); got != s.Default {
			t.Errorf("Value(%s) = %q, but the default is %q", s.Name, got, s.Default)
		}
		if s.Default == "" {
			continue
		}
		if _, err := Load(All, []string{s.Name + "=" + s.Default}, nil); err != nil {
			t.Errorf("the default of %s: %v", s.Name, err)
		}
	}
}
