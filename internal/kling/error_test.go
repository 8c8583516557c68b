package kling

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/klinghook/klinghook/tasks"
)

func TestAPIError(t *testing.T) {
	const second, never = time.Second, -1
	tests := []struct {
		name   string
		err    APIError
		wait   time.Duration // never: not retryable
		advice string
	}{
		{"401", APIError{Status: 401}, never, "check KLINGAI_API_KEY"},
		{"1002", APIError{Status: 401, Code: 1002}, never, "check KLINGAI_API_KEY"},
		{"402", APIError{Status: 402}, never, "credit"},
		{"1102", APIError{Status: 429, Code: 1102, RetryAfter: time.Minute}, never, "credit"},
		{"1103", APIError{Status: 403, Code: 1103}, never, "may not do that"},
		{"403", APIError{Status: 403}, never, "may not do that"},
		{"1201", APIError{Status: 400, Code: 1201}, never, "not what Kling takes"},
		{"400", APIError{Status: 400}, never, "not what Kling takes"},
		{"1203", APIError{Status: 404, Code: 1203}, never, "does not have what was asked for"},
		{"405", APIError{Status: 405}, never, "does not have what was asked for"},
		{"1301", APIError{Status: 400, Code: 1301}, never, "content policy"},
		{"1302", APIError{Status: 429, Code: 1302}, second, "try again in 1s"},
		{"1303 with a wait", APIError{Status: 429, Code: 1303, RetryAfter: 5 * second}, 5 * second, "try again in 5s"},
		{"1304", APIError{Status: 429, Code: 1304}, never, "allow list"},
		{"429", APIError{Status: 429}, second, "try again in 1s"},
		{"5000", APIError{Status: 500, Code: 5000}, 0, "try again later"},
		{"5001 in a 200", APIError{Status: 200, Code: 5001}, 0, "try again later"},
		{"502", APIError{Status: 502}, 0, "try again later"},
		{"503 with a wait", APIError{Status: 503, RetryAfter: time.Minute}, time.Minute, "try again later"},
		{"408", APIError{Status: 408}, 0, "try again later"},
		{"501", APIError{Status: 501}, never, "ask Kling's support"},
		{"unknown code in a 200", APIError{Status: 200, Code: 42}, never, "ask Kling's support"},
		{"308", APIError{Status: 308}, never, "check the base URL"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.err.Retryable(); got != (tt.wait != never) {
				t.Errorf("Retryable() = %t", got)
			}
			if got := tt.err.Wait(); got != max(tt.wait, 0) {
				t.Errorf("Wait() = %s, want %s", got, tt.wait)
			}
			if !strings.Contains(tt.err.Error(), tt.advice) {
				t.Errorf("%q does not say %q", tt.err.Error(), tt.advice)
			}
		})
	}
}

func TestAPIErrorText(t *testing.T) {
	err := &APIError{Status: 401, Code: 1002, Message: "access key not found", RequestID: "r1"}
	want := `Kling answered 401 Unauthorized (code 1002, request_id r1): "access key not found"; ` +
		"check KLINGAI_API_KEY, or the access and secret key: they must be valid keys of this host's account"
	if got := err.Error(); got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func TestRefusals(t *testing.T) {
	tests := []struct {
		name   string
		status int
		header string // Retry-After
		answer string
		want   APIError
		text   string
	}{
		{
			"envelope", 429, "7", `{"code":1303,"message":"parallel task over resource pack limit","request_id":"r1"}`,
			APIError{Status: 429, Code: 1303, Message: "parallel task over resource pack limit", RequestID: "r1", RetryAfter: 7 * time.Second},
			"try again in 7s",
		},
		{
			"a failure in a 200", 200, "", `{"code":1002,"message":"bad key","data":null}`,
			APIError{Status: 200, Code: 1002, Message: "bad key"}, "check KLINGAI_API_KEY",
		},
		{
			"no registration here", 404, "", `<html>nginx</html>`,
			APIError{Status: 404}, "has no webhook registration: try another host, or name your URL as callback_url in each task",
		},
		{
			"the key is not repeated", 401, "", `{"error":"no such key:\n ` + testKey + `"}`,
			APIError{Status: 401, Message: "no such key: …"}, "check KLINGAI_API_KEY",
		},
		{
			"a long message", 400, "", `{"message":"` + strings.Repeat("é", 300) + `"}`,
			APIError{Status: 400, Message: strings.Repeat("é", 200) + "…"}, "not what Kling takes",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			srv := serve(t, func(w http.ResponseWriter, _ *http.Request) {
				if tt.header != "" {
					w.Header().Set("Retry-After", tt.header)
				}
				w.WriteHeader(tt.status)
				_, _ = io.WriteString(w, tt.answer)
			})
			_, err := newTestClient(t, srv.URL).RegisterWebhook(context.Background(), testURL, []string{tasks.TypeCompleted})
			var got *APIError
			if !errors.As(err, &got) {
				t.Fatalf("err = %v, want an APIError", err)
			}
			if diff := cmp.Diff(&tt.want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
			if text := err.Error(); !strings.HasPrefix(text, "register webhook: ") || !strings.Contains(text, tt.text) || strings.Contains(text, testKey) {
				t.Errorf("text %q, want %q and no key", text, tt.text)
			}
		})
	}
}

// TestRefusalThatBreaksOff holds that a status is believed without its body.
func TestRefusalThatBreaksOff(t *testing.T) {
	srv := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "100")
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = io.WriteString(w, `{"code":`)
	})
	_, err := newTestClient(t, srv.URL).RegisterWebhook(context.Background(), testURL, []string{tasks.TypeCompleted})
	var got *APIError
	if !errors.As(err, &got) || got.Status != http.StatusUnauthorized {
		t.Errorf("err = %v, want a 401", err)
	}
}
