package media

import (
	"errors"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/klinghook/klinghook/tasks"
)

func TestOnlyTemporaryStatusesAreRetried(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name      string
		statuses  []int
		permanent bool
		wait      time.Duration
	}{
		{name: "permanent", statuses: []int{404, 405, 410, 414, 451}, permanent: true},
		{name: "temporary", statuses: []int{302, 400, 401, 403, 408, 416, 425, 500, 502, 504}},
		{name: "temporary with Retry-After", statuses: []int{429, 503}, wait: 5 * time.Second},
	}
	for _, tt := range tests {
		for _, code := range tt.statuses {
			err := statusFailure(&http.Response{
				StatusCode: code,
				Header:     http.Header{"Retry-After": {"5"}},
				Request:    &http.Request{URL: &url.URL{Scheme: "https", Host: "cdn.example", RawQuery: "sig=SECRET"}},
			}, time.Now())
			var status *StatusError
			if !errors.As(err, &status) || status.Status != code || status.Host != "cdn.example" {
				t.Fatalf("statusFailure = %v, want a StatusError of %d", err, code)
			}
			if permanent, wait := tasks.IsPermanent(err), tasks.RetryAfterOf(err); permanent != tt.permanent || wait != tt.wait {
				t.Errorf("%s: %d is permanent: %t, wait %s", tt.name, code, permanent, wait)
			}
		}
	}
}
