package kling

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/klinghook/klinghook/tasks"
)

func TestAPIError(t *testing.T) {
	const second = time.Second
	tests := []struct {
		name     string
		err      APIError
		wait     time.Duration
		notFound bool
		advice   string
	}{
		{"401", APIError{Status: 401}, 0, false, "check KLINGAI_API_KEY"},
		{"1000", APIError{Status: 401, Code: 1000}, 0, false, "check KLINGAI_API_KEY"},
		{"1003", APIError{Status: 401, Code: 1003}, 0, false, "check this machine's clock"},
		{"1004", APIError{Status: 401, Code: 1004}, 0, false, "check this machine's clock"},
		{"402", APIError{Status: 402}, 0, false, "credit"},
		{"1100", APIError{Status: 429, Code: 1100}, 0, false, "credit"},
		{"1102", APIError{Status: 429, Code: 1102, RetryAfter: time.Minute}, 0, false, "credit"},
		{"1103", APIError{Status: 403, Code: 1103}, 0, false, "may not do that"},
		{"403", APIError{Status: 403}, 0, false, "may not do that"},
		{"1200", APIError{Status: 400, Code: 1200}, 0, false, "does not accept this request"},
		{"1201 in a 404", APIError{Status: 404, Code: 1201, Message: "task not found"}, 0, false, "does not accept this request"},
		{"400", APIError{Status: 400}, 0, false, "does not accept this request"},
		{"1202", APIError{Status: 404, Code: 1202}, 0, true, "does not have the requested resource"},
		{"1203", APIError{Status: 404, Code: 1203}, 0, true, "does not have the requested resource"},
		{"1203 in a 200", APIError{Status: 200, Code: 1203}, 0, true, "does not have the requested resource"},
		{"404 of a relay", APIError{Status: 404, Message: "task not found"}, 0, true, "does not have the requested resource"},
		{"404 of another server", APIError{Status: 404}, 0, false, "does not have the requested resource"},
		{"405", APIError{Status: 405, Message: "method not allowed"}, 0, false, "does not have the requested resource"},
		{"1300", APIError{Status: 400, Code: 1300}, 0, false, "content policy"},
		{"1301", APIError{Status: 400, Code: 1301}, 0, false, "content policy"},
		{"1302", APIError{Status: 429, Code: 1302}, second, false, "try again in 1s"},
		{"1303 with a wait", APIError{Status: 429, Code: 1303, RetryAfter: 5 * second}, 5 * second, false, "try again in 5s"},
		{"1304", APIError{Status: 429, Code: 1304}, 0, false, "allow list"},
		{"429", APIError{Status: 429}, second, false, "try again in 1s"},
		{"5000", APIError{Status: 500, Code: 5000}, 0, false, "try again later"},
		{"5002 in a 200", APIError{Status: 200, Code: 5002}, 0, false, "try again later"},
		{"502", APIError{Status: 502}, 0, false, "try again later"},
		{"503 with a wait", APIError{Status: 503, RetryAfter: time.Minute}, time.Minute, false, "try again later"},
		{"408", APIError{Status: 408}, 0, false, "try again later"},
		{"501", APIError{Status: 501}, 0, false, "ask Kling's support"},
		{"unknown code in a 200", APIError{Status: 200, Code: 42}, 0, false, "ask Kling's support"},
		{"308", APIError{Status: 308}, 0, false, "check the base URL"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := fmt.Errorf("look up: %w", &tt.err)
			if got := WaitOf(err); got != tt.wait {
				t.Errorf("WaitOf = %s, want %s", got, tt.wait)
			}
			if got := errors.Is(err, ErrNotFound); got != tt.notFound {
				t.Errorf("is ErrNotFound: %t, want %t", got, tt.notFound)
			}
			if !strings.Contains(err.Error(), tt.advice) {
				t.Errorf("%q does not say %q", err, tt.advice)
			}
		})
	}
}

func TestRefusedCall(t *testing.T) {
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
			"a failure in a 200", 200, "", `{"code":"1002","message":"bad key","data":null}`,
			APIError{Status: 200, Code: 1002, Message: "bad key"}, "check KLINGAI_API_KEY",
		},
		{
			"a relay's error object", 400, "", `{"error":{"message":"bad request"}}`,
			APIError{Status: 400, Message: "bad request"}, "does not accept",
		},
		{
			"no registration here", 404, "", `<html>nginx</html>`,
			APIError{Status: 404}, "has no webhook registration: try another host, or name your URL as callback_url in each task",
		},
		{
			"the key is hidden", 401, "", `{"error":"no such key:\n ` + testKey + `"}`,
			APIError{Status: 401, Message: "no such key: …"}, "check KLINGAI_API_KEY",
		},
		{
			"everything", 401, "", `{"code":1002,"message":"` + strings.Repeat("é", 300) + `","request_id":"r1"}`,
			APIError{Status: 401, Code: 1002, Message: strings.Repeat("é", 200) + "…", RequestID: "r1"},
			"Kling answered 401 Unauthorized (code 1002, request_id r1): \"éé",
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

func TestAboutJobs(t *testing.T) {
	unknownJob := &APIError{Status: 404, Code: 1203}
	noCredit := &APIError{Status: 429, Code: 1102}
	tests := []struct {
		name string
		err  error
		want bool
	}{
		{"none", nil, false},
		{"not found", fmt.Errorf("look up job %q: %w", "a", ErrNotFound), true},
		{"an invalid id", fmt.Errorf("look up 2 jobs: %w", fmt.Errorf("%w: %w", ErrInvalid, errors.New("an id with a comma"))), true},
		{"a refusal of one job", unknownJob, true},
		{"a refusal of the account", noCredit, false},
		{"the network", fmt.Errorf("look up: %w", context.DeadlineExceeded), false},
		{"several jobs", errors.Join(unknownJob, fmt.Errorf("%w: job 1", ErrUnreadable)), true},
		{"a job, and then the account", fmt.Errorf("look up 3 jobs: %w", errors.Join(unknownJob, noCredit)), false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := AboutJobs(tt.err); got != tt.want {
				t.Errorf("AboutJobs(%v) = %t, want %t", tt.err, got, tt.want)
			}
		})
	}
}
