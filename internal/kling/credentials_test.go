package kling

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/klinghook/klinghook/tasks"
)

const (
	testAccessKey = "hunter3-access"
	testSecretKey = "hunter4-secret"
)

func newPairClient(t *testing.T, baseURL string, transport http.RoundTripper) *API {
	t.Helper()
	c, err := New(Config{
		BaseURL: baseURL, AccessKey: testAccessKey, SecretKey: testSecretKey + "\n", Rate: 1e6,
		HTTPClient: &http.Client{Transport: transport},
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// transport answers requests without a network, for tests in a synctest bubble.
type transport func(r *http.Request) (status int, header http.Header, body string)

func (f transport) RoundTrip(r *http.Request) (*http.Response, error) {
	status, header, body := f(r)
	return &http.Response{StatusCode: status, Header: header, Body: io.NopCloser(strings.NewReader(body)), Request: r}, nil
}

// TestTokenIsRenewedWhenItExpires checks that the token is as Kling documents and is used for 25 minutes, or until
// Kling refuses it.
func TestTokenIsRenewedWhenItExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var tokens []string
		answer := `{"code":0,"data":{"task_id":"1","task_status":"processing"}}`
		c := newPairClient(t, "", transport(func(r *http.Request) (int, http.Header, string) {
			tokens = append(tokens, strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "))
			return 200, nil, answer
		}))
		made := time.Now()
		for _, wait := range []time.Duration{0, 24 * time.Minute, time.Minute} {
			time.Sleep(wait)
			if _, err := c.Job(t.Context(), "1", KindText2Video); err != nil {
				t.Fatal(err)
			}
		}
		answer = `{"code":1004,"message":"Authorization has expired"}`
		for range 2 {
			time.Sleep(time.Second)
			if _, err := c.Job(t.Context(), "1", KindText2Video); err == nil || !strings.Contains(err.Error(), "check this machine's clock") {
				t.Errorf("err = %v", err)
			}
		}
		if len(tokens) != 5 || tokens[0] != tokens[1] || tokens[1] == tokens[2] || tokens[2] != tokens[3] || tokens[3] == tokens[4] {
			t.Fatalf("tokens %q, want a new one for the third and the fifth call", tokens)
		}
		want := map[string]any{"iss": testAccessKey, "exp": float64(made.Unix() + 1800), "nbf": float64(made.Unix() - 5)}
		if diff := cmp.Diff(want, readJWT(tokens[0])); diff != "" {
			t.Errorf("claims (-want +got)\n%s", diff)
		}
	})
}

func TestKeyPairWorksOnlyInTheLegacyAPI(t *testing.T) {
	f := newFake(t)
	f.add(KindImage2Video, "8", legacyObject("8", "succeed"))
	c := newPairClient(t, f.URL, nil)
	ctx := context.Background()

	job, err := c.Job(ctx, "8")
	if err != nil || job.Kind != KindImage2Video {
		t.Fatalf("got %q, %v", job.Kind, err)
	}
	f.asked()
	calls := map[string]func() error{
		"Job":  func() error { _, err := c.Job(ctx, "8", KindTasks); return err },
		"Jobs": func() error { _, err := c.Jobs(ctx, "8"); return err },
		"RegisterWebhook": func() error {
			_, err := c.RegisterWebhook(ctx, testURL, []string{tasks.TypeCompleted})
			return err
		},
	}
	for name, call := range calls {
		if err := call(); !errors.Is(err, ErrNeedsAPIKey) {
			t.Errorf("%s: err = %v, want ErrNeedsAPIKey", name, err)
		}
	}
	if asked := f.asked(); len(asked) > 0 {
		t.Errorf("asked %q", asked)
	}
}

// TestErrorsHideSecrets asks a host that echoes the request's secrets.
func TestErrorsHideSecrets(t *testing.T) {
	srv := serve(t, func(w http.ResponseWriter, r *http.Request) {
		envelope(w, http.StatusUnauthorized, 1002, r.Header.Get("Authorization")+" "+testKey+testAccessKey+testSecretKey, "null")
	})
	for c, secrets := range map[*API][]string{
		newTestClient(t, srv.URL):      {testKey},
		newPairClient(t, srv.URL, nil): {testAccessKey, testSecretKey, "eyJ"},
	} {
		_, err := c.Job(t.Context(), "1", KindText2Video)
		var refused *APIError
		if !errors.As(err, &refused) {
			t.Fatalf("err = %v", err)
		}
		for _, secret := range secrets {
			if text := fmt.Sprintf("%v %+v", err, refused); strings.Contains(text, secret) {
				t.Errorf("%q has %q", text, secret)
			}
		}
	}
}

// readJWT returns the claims of a token that testSecretKey signed, else nil.
func readJWT(token string) (claims map[string]any) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return nil
	}
	content, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil || token != signJWT(content, testSecretKey) || json.Unmarshal(content, &claims) != nil {
		return nil
	}
	return claims
}

// TestSignJWT uses the example of jwt.io.
func TestSignJWT(t *testing.T) {
	const want = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxMjM0NTY3ODkwIiwibmFtZSI6IkpvaG4gRG9lIiwiaWF0IjoxNTE2MjM5MDIyfQ.SflKxwRJSMeKKF2QT4fwpMeJf36POk6yJV_adQssw5c"
	if got := signJWT([]byte(`{"sub":"1234567890","name":"John Doe","iat":1516239022}`), "your-256-bit-secret"); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
