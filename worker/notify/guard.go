package notify

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/klinghook/klinghook/tasks"
)

const (
	// httpTimeout limits a request to a chat service and its answer.
	httpTimeout = 30 * time.Second
	// maxAnswer is the longest answer of a chat service, in bytes.
	maxAnswer = 64 << 10
)

// guard is a transport that returns an error unless the answer means success. Failures
// are any status but 2xx, a truncated answer, a web page, and a body that reports an
// error. shoutrrr takes some of them for success.
type guard struct {
	base     http.RoundTripper // nil: http.DefaultTransport
	accepted func(body []byte) bool
}

func (g guard) RoundTrip(req *http.Request) (*http.Response, error) {
	res, err := g.roundTrip(req)
	if err != nil {
		return nil, refusal{err}
	}
	return res, nil
}

// refusal is the reason why a message was not sent, without shoutrrr's additions.
type refusal struct{ error }

func (r refusal) Unwrap() error { return r.error }

func (g guard) roundTrip(req *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithTimeout(req.Context(), httpTimeout)
	defer cancel()
	res, err := roundTrip(g.base, req.WithContext(ctx))
	if err != nil {
		// Hide a time-out: shoutrrr's discord service would retry the request, but
		// klinghook retries the task.
		return nil, errors.New(err.Error())
	}
	body, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer+1))
	_ = res.Body.Close() // only read from
	switch refused := answerError(res); {
	case refused != nil:
		var telegram struct {
			Parameters struct {
				RetryAfter json.Number `json:"retry_after"`
			} `json:"parameters"`
		}
		_ = json.Unmarshal(body, &telegram) // other services use the header
		refused = fmt.Errorf("%w%s", refused, excerpt(body))
		if wait := tasks.ParseRetryAfter(telegram.Parameters.RetryAfter.String(), time.Now()); wait > 0 {
			refused = tasks.RetryAfter(refused, wait)
		}
		return nil, refused
	case err != nil:
		return nil, errors.New("the answer " + res.Status + " was cut: " + err.Error())
	case len(body) > maxAnswer:
		return nil, fmt.Errorf("the answer %s is longer than %d bytes", res.Status, maxAnswer)
	case refuses(body), g.accepted != nil && !g.accepted(body):
		return nil, fmt.Errorf("the answer %s does not accept the message%s", res.Status, excerpt(body))
	}
	res.Body = io.NopCloser(bytes.NewReader(body))
	return res, nil
}

func roundTrip(base http.RoundTripper, req *http.Request) (*http.Response, error) {
	if base == nil {
		base = http.DefaultTransport
	}
	return base.RoundTrip(req)
}

// excerpt returns the beginning of a body to append to an error.
func excerpt(body []byte) string {
	if len(body) == 0 || isPage(body) {
		return ""
	}
	return ": " + cut(oneLine(string(body)))
}

func isPage(body []byte) bool { return strings.HasPrefix(http.DetectContentType(body), "text/html") }

// refuses reports whether a body is a web page or has a failure in a common field.
func refuses(body []byte) bool {
	var fields map[string]any
	_ = json.Unmarshal(body, &fields) // an answer need not be JSON
	failed := func(key string, failures ...string) bool {
		return slices.Contains(failures, strings.ToLower(fmt.Sprint(fields[key])))
	}
	named := func(key string) bool {
		return !slices.Contains([]string{"<nil>", "", "false", "0", "[]", "map[]"}, fmt.Sprint(fields[key]))
	}
	return isPage(body) || failed("ok", "false") || failed("success", "false") ||
		failed("status", "error", "fail", "failed", "failure") || failed("result", "error", "fail", "failed", "failure") ||
		named("error") || named("errors")
}

// exactly accepts only this text.
func exactly(text string) func([]byte) bool {
	return func(body []byte) bool { return string(bytes.TrimSpace(body)) == text }
}

// field accepts a JSON object with the value under one of the keys; a nil value
// stands for any.
func field(value any, keys ...string) func([]byte) bool {
	return func(body []byte) bool {
		var fields map[string]any
		return json.Unmarshal(body, &fields) == nil && slices.ContainsFunc(keys, func(key string) bool {
			got, ok := fields[key]
			return ok && (value == nil || fmt.Sprint(got) == fmt.Sprint(value))
		})
	}
}

// GuardDefaultClient makes http.DefaultClient, which many of shoutrrr's services use,
// check the answers of the configured chat services. It does not affect other requests.
// main calls it before anything uses the client.
func GuardDefaultClient() { guardedHosts() }

// chatHosts guards the requests to some hosts.
type chatHosts struct {
	base     http.RoundTripper
	mu       sync.RWMutex
	accepted map[string]func([]byte) bool // guarded by mu; by host
}

func guardedHosts() *chatHosts {
	hosts, ok := http.DefaultClient.Transport.(*chatHosts)
	if !ok {
		hosts = &chatHosts{base: http.DefaultClient.Transport, accepted: map[string]func([]byte) bool{}}
		http.DefaultClient.Transport = hosts
	}
	return hosts
}

// add guards a host. Of several services, the first with a check decides.
func (h *chatHosts) add(host string, accepted func([]byte) bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if host = hostKey(host); h.accepted[host] == nil {
		h.accepted[host] = accepted
	}
}

func (h *chatHosts) RoundTrip(req *http.Request) (*http.Response, error) {
	h.mu.RLock()
	accepted, ok := h.accepted[hostKey(req.URL.Host)]
	h.mu.RUnlock()
	if !ok {
		return roundTrip(h.base, req)
	}
	return guard{h.base, accepted}.RoundTrip(req)
}

func hostKey(host string) string {
	return strings.TrimSuffix(strings.TrimSuffix(strings.ToLower(host), ":443"), ":80")
}
