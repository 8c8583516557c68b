package kling

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"
	"unicode"
)

const (
	// tokenLife is how long Kling accepts a token.
	tokenLife = 1800 * time.Second
	// tokenLead backdates a token, because clocks differ.
	tokenLead = 5 * time.Second
	// tokenSpare is how long before its expiry a token is renewed.
	tokenSpare = 5 * time.Minute
)

// credentials makes the Bearer token: the API key, or a JWT signed with the older
// pair of keys.
type credentials struct {
	apiKey, accessKey, secretKey string

	mu      sync.Mutex
	token   string    // guarded by mu; the current JWT, or empty
	renewAt time.Time // guarded by mu
}

func newCredentials(cfg Config) (*credentials, error) {
	k := &credentials{
		apiKey:    strings.TrimSpace(cfg.APIKey),
		accessKey: strings.TrimSpace(cfg.AccessKey),
		secretKey: strings.TrimSpace(cfg.SecretKey),
	}
	switch {
	case k.apiKey+k.accessKey+k.secretKey == "":
		return nil, errors.New("no API key; set KLINGAI_API_KEY to one from Kling's console")
	case k.apiKey != "" && k.accessKey+k.secretKey != "":
		return nil, errors.New("both an API key and a pair of keys; keep the API key, which every API accepts")
	case k.apiKey == "" && (k.accessKey == "" || k.secretKey == ""):
		return nil, errors.New("only one of access key and secret key; Kling's console shows both, set both")
	}
	for _, key := range []struct{ name, value string }{
		{"the API key", k.apiKey}, {"the access key", k.accessKey}, {"the secret key", k.secretKey},
	} {
		if strings.ContainsFunc(key.value, func(r rune) bool { return r > unicode.MaxASCII || r <= ' ' || r == 0x7f }) {
			return nil, fmt.Errorf("%s has characters that no key has; set one key and nothing else", key.name)
		}
	}
	return k, nil
}

// bearer returns the token for the Authorization header.
func (k *credentials) bearer() (string, error) {
	if k.apiKey != "" {
		return k.apiKey, nil
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	now := time.Now()
	if k.token != "" && now.Before(k.renewAt) {
		return k.token, nil
	}
	claims, err := json.Marshal(map[string]any{"iss": k.accessKey, "exp": now.Add(tokenLife).Unix(), "nbf": now.Add(-tokenLead).Unix()})
	if err != nil {
		return "", fmt.Errorf("encode the token: %w", err)
	}
	k.token, k.renewAt = signJWT(claims, k.secretKey), now.Add(tokenLife-tokenSpare)
	return k.token, nil
}

// signJWT returns a JWT with these claims, signed with HS256 (RFC 7515, RFC 7518).
func signJWT(claims []byte, key string) string {
	encode := base64.RawURLEncoding.EncodeToString
	signed := encode([]byte(`{"alg":"HS256","typ":"JWT"}`)) + "." + encode(claims)
	mac := hmac.New(sha256.New, []byte(key))
	mac.Write([]byte(signed))
	return signed + "." + encode(mac.Sum(nil))
}

// forget drops a token that Kling refused, so that the next call makes a new one.
func (k *credentials) forget(token string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.token == token {
		k.token = ""
	}
}

// hide removes the keys and the token from a text.
func (k *credentials) hide(text, token string) string {
	for _, secret := range []string{token, k.apiKey, k.secretKey, k.accessKey} {
		if secret != "" {
			text = strings.ReplaceAll(text, secret, "…")
		}
	}
	return text
}
