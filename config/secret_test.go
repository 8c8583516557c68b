package config

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestDamagedSecretsAreRefusedInEverySetting(t *testing.T) {
	goods := []string{goodSigningSecret, goodToken, goodHash, "redis://u:hunter2@h", "postgres://u:hunter2@h/d", "https://a.example/hunter2"}
	damages := []struct{ value, want string }{
		{`"GOOD"`, "has a quote at its start or end; write the value without quotes"},
		{"'GOOD'", "has a quote"},
		{"“GOOD”", "has a quote"},
		{"\ufeffGOOD", "contains the invisible character U+FEFF; copy the value again, or save its file as plain text without a byte order mark"},
		{"GOOD\u200b", "contains the invisible character U+200B"},
		{"\u2060GOOD", "contains the invisible character U+2060"},
		{"GOOD\u3164", "contains the invisible character U+3164"},
		{"\xff\xfeGOOD", "is not UTF-8"},
		{"\u00a0GOOD", "contains white space"},
		{"GOOD\tx", "contains white space or a control character"},
		{"NAME=GOOD", "begins with the name of a variable; write only the value"},
		{"export NAME=GOOD", "begins with the name of a variable"},
		{"NAME: GOOD", ""}, // the reason depends on the form
	}
	file := filepath.Join(t.TempDir(), "secret")
	for _, s := range Settings() {
		if s.Secret == SecretNone {
			continue
		}
		good := goods[slices.IndexFunc(goods, s.form.valid)]
		for _, damage := range damages {
			value := strings.NewReplacer("GOOD", good, "NAME", s.Name).Replace(damage.value)
			if err := os.WriteFile(file, []byte(value+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			got := problemsOf(t, All, map[string]string{s.Name: value}, nil)
			ofFile := problemsOf(t, All, map[string]string{s.FileName(): file}, nil)
			if len(got) != 1 || !slices.Equal(got, ofFile) || !strings.HasPrefix(got[0], s.Title()) || !strings.Contains(got[0], damage.want) || strings.Contains(got[0], "hunter2") {
				t.Errorf("%s=%q: %q, and %q in a file; want %q", s.Name, value, got, ofFile, damage.want)
			}
		}
		if got := problemsOf(t, All, map[string]string{s.Name: good}, nil); got != nil {
			t.Errorf("%s=%s: %q", s.Name, good, got)
		}
	}
}

func TestWeakSecretsAreRefusedExceptInDev(t *testing.T) {
	const (
		short, example = "is too short and could be guessed", "is an example"
		compose        = "is the public default in docker-compose.yml"
		seed, official = "KLINGAI_WEBHOOK_SECRET", "KLINGAI_OFFICIAL_WEBHOOK_SECRET"
		composeKey     = "whsec_a25vd24tdG8tYWxsLWZvci10aGlzLW1hY2hpbmUtb25seQ=="
	)
	tests := []struct {
		name    string
		role    Role
		environ string // separated by spaces
		want    string // in the problem or warning; empty for none
	}{
		{"one letter", Ingest, seed + "=a", short + ": its key has 1 bytes; it must have at least 16"},
		{"15 bytes", Ingest, seed + "=0123456789abcde", short},
		{"16 bytes", Ingest, seed + "=0123456789abcdef", ""},
		{"a seed secret in base64", Ingest, seed + "=" + goodSigningSecret, ""},
		{"a seed secret that is not in base64", Ingest, seed + "=whsec_not-in-base64", ""},
		{"a long encoding of a short key", Ingest, official + "=whsec_MDEyMzQ1Njc4OWFiY2Rl", short + ": its key has 15 bytes"},
		{"a rotated secret", Ingest, seed + "=" + goodSecret + ",old", "number 2 of 2 " + short},
		{"the secret that signs forwards", Worker, "KLINGHOOK_FORWARD_SECRET=whsec_c2VjcmV0", short},
		{"a key from Kling", Worker, "KLINGAI_ACCESS_KEY=ak KLINGAI_SECRET_KEY=sk", ""},
		{"a password of Redis", Worker, "KLINGHOOK_REDIS_URL=redis://:pw@h", ""},
		{"an example", Ingest, seed + "=CHANGE-ME-please-soon", example},
		{"an example in a list", Ingest, seed + "=" + goodSecret + ",change_me", "number 2 of 2 " + example},
		{"an example of a key", Worker, "KLINGAI_API_KEY=CHANGE-ME", example},
		{"an example in a URL", Store, "KLINGHOOK_DATABASE_URL=postgres://u:CHANGE-ME@h/d", example},
		{"an example of a hash", Admin, "KLINGHOOK_ADMIN_USER=me KLINGHOOK_ADMIN_PASSWORD_HASH=CHANGE-ME", example},
		{"a placeholder", Ingest, seed + "=<the-secret-of-kling>", example},
		{"an ellipsis", Ingest, official + "=whsec_…", example},
		{"Compose's, on all addresses", Ingest, seed + "=" + composeSecret, compose},
		{"Compose's as a key", Ingest, official + "=" + composeKey, compose},
		{"Compose's for a domain", Ingest, official + "=" + composeKey + " KLINGHOOK_SITE=hooks.example.com", compose},
		{"Compose's in Compose", Ingest, official + "=" + composeKey + " KLINGHOOK_SITE=:5000", ""},
		{"Compose's on loopback", Ingest, seed + "=" + composeSecret + " KLINGHOOK_ADDR=127.0.0.1:5000", ""},
		{"Compose's token", Admin, "KLINGHOOK_ADMIN_TOKEN=" + composeSecret + " KLINGHOOK_ADMIN_ADDR=:5001", compose},
		{"Compose's token on loopback", Admin, "KLINGHOOK_ADMIN_TOKEN=" + composeSecret, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Load(tt.role, strings.Fields(tt.environ), nil, nil)
			if (err == nil) != (tt.want == "") || err != nil && (strings.Count(err.Error(), "\n") != 1 || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("%s: %v, want %q", tt.role, err, tt.want)
			}
			c, err := Load(All, strings.Fields(tt.environ), nil, nil)
			if isHash := strings.Contains(tt.environ, "HASH"); err != nil && !isHash && !strings.Contains(tt.environ, "…") {
				t.Errorf("only shown: %v", err)
			} else if err == nil && tt.want != "" && !strings.Contains(strings.Join(c.Warnings(), "\n"), tt.want) {
				t.Errorf("warnings %q, want %q", c.Warnings(), tt.want)
			}
		})
	}
}
