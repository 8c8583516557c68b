package config

import (
	"reflect"
	"slices"
	"strings"
	"testing"
)

func TestEverySettingIsComplete(t *testing.T) {
	used := map[string]bool{}
	for _, field := range reflect.VisibleFields(reflect.TypeFor[Config]()) {
		used[field.Tag.Get("form")] = true
	}
	for _, s := range Settings() {
		if s.Name == "" || s.Form == "" || s.form.example == "" || s.form.valid == nil || !strings.HasSuffix(s.Meaning, ".") {
			t.Errorf("%s lacks a form, or its meaning is not a sentence: %+v", s.Name, s)
		}
		if !slices.Contains([]Secret{SecretNone, SecretURL, SecretText, SecretKey, SecretStrong}, s.Secret) {
			t.Errorf("%s has the secret tag %q", s.Name, s.Secret)
		}
		if s.needs != "" && Lookup(s.needs).Name == "" {
			t.Errorf("%s needs %s, which is not a setting", s.Name, s.needs)
		}
		for _, role := range s.roles {
			if !slices.Contains([]Role{Ingest, Worker, Dev, Admin, Migrate, Store, Replay, Prune, Client}, Role(role)) {
				t.Errorf("%s has the role %q", s.Name, role)
			}
		}
	}
	for name := range forms {
		if !used[name] {
			t.Errorf("no setting has the form %q", name)
		}
	}
}

func TestDefaultsAreValid(t *testing.T) {
	c, err := Load(All, nil, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range Settings() {
		if s.Default == "" || strings.Contains(s.Default, "<data>") {
			continue
		}
		if got := c.Value(s.Name); got != s.Default {
			t.Errorf("Value(%s) = %q, but the default is %q", s.Name, got, s.Default)
		}
		if _, err := Load(All, []string{s.Name + "=" + s.Default}, nil, nil); err != nil {
			t.Errorf("the default of %s: %v", s.Name, err)
		}
	}
}

func TestFormsAcceptOnlyValidValues(t *testing.T) {
	tests := map[string]struct{ good, bad []string }{
		"listen-address": {
			[]string{":5000", "[::1]:5000", "[fe80::1%eth0]:5000", "0.0.0.0:0", "my-host.local:65535"},
			[]string{"5000", "localhost", "::1:5000", "localhost:65536", "localhost:-1", "localhost:http", "localhost:", "http://localhost:5000", "a b:5000"},
		},
		"hosts":           {[]string{"cdn.internal:443", "[2001:db8::1]:443"}, []string{":443", "cdn.internal", "cdn.internal:0", "10.0.0.0/8:443"}},
		"password-hash":   {[]string{goodHash, strings.Replace(goodHash, "$2a$10", "$2y$12", 1)}, []string{strings.Replace(goodHash, "$10", "$05", 1), strings.Replace(goodHash, "$10", "$20", 1), goodHash[2:], "$apr1$k3bHT1dR$pWwb2DqnIHcnQiZmFSp8H0"}},
		"header-name":     {[]string{"X-Forwarded-User"}, []string{"Remote User"}},
		"networks":        {[]string{"10.0.0.7", "fd00::/8"}, []string{"proxy.internal", "0.0.0.0/0", "::/0"}},
		"path-prefix":     {[]string{"/klinghook", "/a/b-c_d.e"}, []string{"klinghook", "/", "/klinghook/", "//evil.example", "/a//b", "/..", "/./a", "/{x}", "/a b", "/a?b", "/%2e"}},
		"host-or-network": {[]string{"intern.example.com", "203.0.113.7", "2001:db8::/32"}, []string{"10.0.0.0/33", "cdn.internal:443", "https://cdn.internal"}},
		"host-names":      {[]string{"queue.example.com", "2001:db8::1"}, []string{"bücher.example", "queue.example.com:443", "https://queue.example.com"}},
		"redis-url": {
			[]string{"redis://127.0.0.1", "redis://:p%40ss%2Fword@redis:6379/15", "rediss://user:pw@redis:6380/0?dial_timeout=3s", "unix:///run/redis.sock?db=1", "unix://user:pw@/run/redis.sock", "redis://s1:26379?master_name=m&addr=s2:26379&password=p%40w"},
			[]string{"unix://run/redis.sock", "unix://", "127.0.0.1:6379", "http://127.0.0.1", "redis:///0", "redis://:p/ss@redis:6379/0", "redis://u:12/3@redis:6379/0", "redis://s1:26379,s2:26379", "redis-sentinel://s1:26379/mymaster"},
		},
		"database-url": {
			[]string{"sqlite:klinghook.db", "sqlite:/var/lib/klinghook.db", "sqlite:///var/lib/klinghook.db", "postgres://u:p@db:5432/klinghook?sslmode=disable", "postgresql://db/klinghook", "postgres:///klinghook?host=/run/postgresql"},
			[]string{"sqlite:", "sqlite://klinghook.db", "sqlite:~/klinghook.db", "klinghook.db", "host=db password=hunter2", "mysql://db/klinghook", "postgres:///klinghook", "postgres://u:12/3@db/klinghook", "postgres://u:12?3@db/klinghook", "postgres://u:12#3@db/klinghook"},
		},
		"bucket-url": {
			[]string{"file:///srv/media", "s3://my_bucket?region=eu-west-1&endpoint=https://s3.internal", "gs://bucket", "azblob://container"},
			[]string{"/srv/media", "file://media", "file://./media", "s3://", "s3:///key", "s3://AKIA:hunter2@bucket", "mem://"},
		},
		"base-url":       {[]string{"https://api-singapore.klingai.com", "http://127.0.0.1:8080/base"}, []string{"api.klingai.com", "https://", "https://u:p@host", "https://host?x"}},
		"http-urls":      {[]string{"https://u:p@host/hooks?token=a@b"}, []string{"ftp://host", "https://host:port"}},
		"service-urls":   {[]string{"generic+https://host/hook?template=json", "logger://"}, []string{"hooks.slack.com/services/x", "1st://x"}},
		"signing-secret": {[]string{goodSigningSecret}, []string{"dGVzdA==", "whsec_", "whsec_no base64"}},
		"size":           {[]string{"1048576", "1MiB", "512 kib", "1MB", "1.5GiB", "3TB", "7B"}, []string{"0", "-1MiB", "MiB", "much", "1BB", "9223372036854775808"}},
		"duration":       {[]string{"30s", "1m30s", "0s", "0"}, []string{"30", "-1s", "soon"}},
		"link-lifetime":  {[]string{"0s", "1m", "168h"}, []string{"59s", "168h1s", "-1m"}},
		"queue-timeout":  {[]string{"1ms", "2s"}, []string{"0s", "2001ms"}},
		"count":          {[]string{"1", "64"}, []string{"0", "-1", "four", "1.5"}},
		"rate":           {[]string{"0.5", "100"}, []string{"0", "-1", "NaN", "1e9"}},
		"switch":         {[]string{"true", "0"}, []string{"on"}},
		"queues":         {[]string{"media=2"}, []string{"media", "media=0", "media=1.5", "=3"}},
		"path":           {[]string{"./klinghook-data"}, []string{"~"}},
		"log-level":      {[]string{"warn"}, []string{"warning", "INFO"}},
	}
	for name, tt := range tests {
		for _, item := range tt.good {
			if !forms[name].valid(item) {
				t.Errorf("form %s refuses %q", name, item)
			}
		}
		for _, item := range tt.bad {
			if forms[name].valid(item) {
				t.Errorf("form %s accepts %q", name, item)
			}
		}
	}
}

func FuzzSplitURLs(f *testing.F) {
	for _, seed := range []string{"a://b,c://d", "smtp://h/?to=a,b ,\tx+y://z", "slack://a\ndiscord://b\r\n", ",,", "://", "a,b"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if strings.Contains(text, "\x00") {
			return // no variable contains it
		}
		urls := split(text, nextURL)
		for _, item := range urls {
			if item == "" || !strings.Contains(text, item) {
				t.Fatalf("%q gives %q", text, item)
			}
		}
		for _, separator := range []string{",", " , ", "\n"} {
			if again := split(strings.Join(urls, separator), nextURL); !slices.Equal(urls, again) {
				t.Fatalf("%q joined by %q gives %q, want %q", text, separator, again, urls)
			}
		}
	})
}
