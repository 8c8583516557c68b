package doctor

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/klinghook/klinghook/internal/kling"
	"github.com/klinghook/klinghook/internal/store"
)

// Database checks that the database answers, accepts writes and has this build's schema.
// open opens it; its errors have advice. where is its URL without secrets.
func Database(where string, open func(context.Context) (*store.Store, error)) Check {
	const check = "database"
	return Check{Name: check, Run: func(ctx context.Context) []Finding {
		db, err := open(ctx)
		if err != nil {
			return []Finding{failed(check, err.Error(), "")}
		}
		defer func() { _ = db.Close() }() // it was only read from
		found := []Finding{ok(check, "%s answers and accepts writes", where)}
		if err := db.CheckWritable(ctx); err != nil {
			found[0] = failed(check, fmt.Sprintf("%s: %v", where, err), "")
		}
		if err := db.CheckSchema(ctx); err != nil {
			return append(found, failed("database schema", err.Error(), ""))
		}
		return append(found, ok("database schema", "matches this build"))
	}}
}

// Bucket checks the bucket. probe writes and deletes an object; its errors have advice.
func Bucket(where string, probe func(context.Context) error) Check {
	return Check{Name: "bucket", Run: func(ctx context.Context) []Finding {
		if err := probe(ctx); err != nil {
			fix := "set KLINGHOOK_BUCKET_URL (--bucket-url) to a bucket or folder that exists and may be written"
			if strings.Contains(err.Error(), "KLINGHOOK_BUCKET_URL") {
				fix = ""
			}
			return []Finding{failed("bucket", err.Error(), fix)}
		}
		return []Finding{ok("bucket", "an object was written and deleted in %s", where)}
	}}
}

// trialJob is a job that Kling does not have.
const trialJob = "klinghook-doctor"

// KlingKey asks Kling about a job that does not exist. client is nil without credentials;
// newAPI reports that they work for the new API.
func KlingKey(client *kling.API, newAPI bool) Check {
	const check = "kling"
	return Check{Name: check, Run: func(ctx context.Context) []Finding {
		if client == nil {
			return []Finding{warning(check, "this process has no credentials; without them workers do not look up jobs whose callbacks are lost", "set KLINGAI_API_KEY to a key from Kling's console")}
		}
		var err error
		if newAPI {
			_, err = client.Jobs(ctx, trialJob)
		} else {
			_, err = client.Job(ctx, trialJob, kling.KindText2Video)
		}
		var refused *kling.APIError
		switch {
		case err == nil, errors.Is(err, kling.ErrNotFound):
		case errors.As(err, &refused) && (refused.Code == 1200 || refused.Code == 1201): // only the id is bad
		case errors.As(err, &refused):
			return []Finding{failed(check, refused.Error(), "")} // it has advice
		default:
			return []Finding{failed(check, err.Error(), "check KLINGAI_API_URL, and that this machine reaches it without a proxy")}
		}
		return []Finding{ok(check, "Kling accepts the credentials")}
	}}
}

// KlingClock compares the clock with the Date header of Kling's API.
func KlingClock(apiURL string) Check {
	const check = "kling clock"
	return Check{Name: check, Run: func(ctx context.Context) []Finding {
		req, err := http.NewRequestWithContext(ctx, http.MethodHead, apiURL, http.NoBody)
		if err != nil {
			return []Finding{failed(check, "KLINGAI_API_URL cannot be requested", "set it as docs/configuration.md shows")}
		}
		client := newClient()
		defer client.CloseIdleConnections()
		before := time.Now()
		res, err := client.Do(req)
		took := time.Since(before)
		if err != nil {
			return []Finding{failed(check, fmt.Sprintf("ask %s: %v", req.URL.Host, withoutURL(err)), "check KLINGAI_API_URL, and that this machine reaches it without a proxy")}
		}
		_ = res.Body.Close() // it is empty
		theirs, err := http.ParseTime(res.Header.Get("Date"))
		if err != nil {
			return []Finding{warning(check, req.URL.Host+" sends no time", "check that KLINGAI_API_URL is Kling's API")}
		}
		const half = time.Second / 2 // the header has whole seconds
		return []Finding{clock(check, "the clock of "+req.URL.Host, theirs.Add(half).Sub(before.Add(took/2)))}
	}}
}

// Destination checks a destination of messages. send, if not nil, sends a test message;
// its errors show no secrets.
func Destination(name string, send func(context.Context) error) Check {
	return Check{Name: name, Run: func(ctx context.Context) []Finding {
		if send == nil {
			return []Finding{ok(name, "its URL is well-formed; --notify sends a test message")}
		}
		if err := send(ctx); err != nil {
			return []Finding{failed(name, err.Error(), "check its URL and that the service accepts messages")}
		}
		return []Finding{ok(name, "it accepted a test message")}
	}}
}

// newClient returns a client that does not follow redirects.
func newClient() *http.Client {
	return &http.Client{
		Transport:     &http.Transport{ForceAttemptHTTP2: true, TLSHandshakeTimeout: Timeout}, // uses no proxy
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// withoutURL removes the URL that net/http adds to an error, because it may have a secret.
func withoutURL(err error) error {
	var withURL *url.Error
	if errors.As(err, &withURL) {
		return withURL.Err
	}
	return err
}
