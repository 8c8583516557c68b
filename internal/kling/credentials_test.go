package kling

import (
	"context"
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

func newPairClient(t *testing.T, baseURL string, transport http.RoundTripper) *Client {
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

// TestToken checks the token that Kling documents.
func TestToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var tokens []string
		c := newPairClient(t, "", transport(func(r *http.Request) (int, http.Header, string) {
			tokens = append(tokens, strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "))
			return 200, nil, `{"code":0,"data":{"task_id":"1","task_status":"processing"}}`
		}))
		look := func() {
			if _, err := c.Job(t.Context(), "1", KindText2Video); err != nil {
				t.Fatal(err)
			}
		}
		made := time.Now()
		look()
		time.Sleep(24 * time.Minute)
		look()
		time.Sleep(time.Minute)
		look()
		if len(tokens) != 3 || tokens[0] != tokens[1] || tokens[1] == tokens[2] {
			t.Fatalf("tokens %q, want the first one twice and then a new one", tokens)
		}
		claims := readJWT(tokens[0])
		want := map[string]any{"iss": testAccessKey, "exp": float64(made.Unix() + 1800), "nbf": float64(made.Unix() - 5)}
		if diff := cmp.Diff(want, claims); diff != "" {
			t.Errorf("claims (-want +got)\n%s", diff)
		}
	})
}

func TestRefusedTokenIsReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var tokens []string
		c := newPairClient(t, "", transport(func(r *http.Request) (int, http.Header, string) {
			tokens = append(tokens, r.Header.Get("Authorization"))
			return 401, nil, `{"code":1004,"message":"Authorization has expired"}`
		}))
		for range 2 {
			_, err := c.Job(t.Context(), "1", KindText2Video)
			if err == nil || !strings.Contains(err.Error(), "check this machine's clock") {
				t.Errorf("err = %v", err)
			}
			time.Sleep(time.Second)
		}
		if len(tokens) != 2 || tokens[0] == tokens[1] {
			t.Errorf("tokens %q, want two", tokens)
		}
	})
}

func TestKeyPairWorksOnlyInTheLegacyAPI(t *testing.T) {
	f := newFake(t)
	f.jobs[KindImage2Video] = []string{legacyObject("8", "succeed")}
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

// TestErrorsHideSecrets asks a host that echoes what it was sent.
func TestErrorsHideSecrets(t *testing.T) {
	srv := serve(t, func(w http.ResponseWriter, r *http.Request) {
		envelope(w, http.StatusUnauthorized, 1002, r.Header.Get("Authorization")+" "+testKey+testAccessKey+testSecretKey, "null")
	})
	for name, c := range map[string]*Client{"key": newTestClient(t, srv.URL), "pair": newPairClient(t, srv.URL, nil)} {
		_, err := c.Job(context.Background(), "1", KindText2Video)
		var refused *APIError
		if !errors.As(err, &refused) {
			t.Fatalf("%s: err = %v", name, err)
		}
		token, _ := c.keys.bearer()
		secrets := []string{"eyJ", token}
		if name == "key" {
			secrets = []string{testKey}
		} else {
			secrets = append(secrets, testAccessKey, testSecretKey)
		}
		text := fmt.Sprintf("%v %+v", err, refused)
		for _, secret := range secrets {
			if strings.Contains(text, secret) {
				t.Errorf("%s: %q has %q", name, text, secret)
			}
		}
	}
}

// TestSignJWT uses the example that jwt.io shows.
func TestSignJWT(t *testing.T) {
	const want = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxMjM0NTY3ODkwIiwibmFtZSI6IkpvaG4gRG9lIiwiaWF0IjoxNTE2MjM5MDIyfQ.SflKxwRJSMeKKF2QT4fwpMeJf36POk6yJV_adQssw5c"
	if got := signJWT([]byte(`{"sub":"1234567890","name":"John Doe","iat":1516239022}`), "your-256-bit-secret"); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
