package media

import (
	"errors"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/klinghook/klinghook/tasks"
)

func TestWhichStatusesAreRetried(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	tests := []struct {
		name       string
		status     int
		retryAfter string
		permanent  bool
		wait       time.Duration
	}{
		{name: "moved nowhere", status: 302},
		{name: "bad request", status: 400},
		{name: "unauthorized", status: 401},
		{name: "forbidden", status: 403},
		{name: "not found", status: 404, permanent: true},
		{name: "not found, come again", status: 404, retryAfter: "10", permanent: true},
		{name: "method not allowed", status: 405, permanent: true},
		{name: "timeout", status: 408},
		{name: "gone", status: 410, permanent: true},
		{name: "link too long", status: 414, permanent: true},
		{name: "range", status: 416},
		{name: "too early", status: 425},
		{name: "too many", status: 429},
		{name: "too many, seconds", status: 429, retryAfter: "120", wait: 2 * time.Minute},
		{name: "too many, date", status: 429, retryAfter: "Sun, 01 Mar 2026 12:05:00 GMT", wait: 5 * time.Minute},
		{name: "date that has passed", status: 429, retryAfter: "Sun, 01 Mar 2026 11:05:00 GMT"},
		{name: "date far away", status: 503, retryAfter: "Mon, 01 Mar 2027 12:00:00 GMT", wait: time.Hour},
		{name: "seconds without end", status: 503, retryAfter: "18446744073709551615", wait: time.Hour},
		{name: "nonsense", status: 503, retryAfter: "soon"},
		{name: "negative", status: 503, retryAfter: "-5"},
		{name: "legal", status: 451, permanent: true},
		{name: "server error", status: 500, retryAfter: "5"},
		{name: "unavailable", status: 503, retryAfter: "5", wait: 5 * time.Second},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			resp := &http.Response{
				StatusCode: tt.status,
				Header:     http.Header{"Retry-After": {tt.retryAfter}},
				Request:    &http.Request{URL: &url.URL{Scheme: "https", Host: "cdn.example", RawQuery: "sig=SECRET"}},
			}
			err := statusFailure(resp, now)
			var status *StatusError
			if !errors.As(err, &status) || status.Status != tt.status || status.Host != "cdn.example" {
				t.Fatalf("statusFailure = %v, want a StatusError of %d", err, tt.status)
			}
			if got := tasks.IsPermanent(err); got != tt.permanent {
				t.Errorf("permanent = %t, want %t", got, tt.permanent)
			}
			if got := tasks.RetryAfterOf(err); got != tt.wait {
				t.Errorf("wait = %s, want %s", got, tt.wait)
			}
		})
	}
}
