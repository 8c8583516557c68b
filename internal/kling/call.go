package kling

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/klinghook/klinghook/internal/source"
	"github.com/klinghook/klinghook/tasks"
)

// maxAnswer is the longest accepted answer, in bytes.
const maxAnswer = 8 << 20

// call is one request of the API.
type call struct {
	method string
	// path is escaped; query is encoded.
	path, query string
	// in is sent as JSON, unless it is nil.
	in any
	// apiKeyOnly marks calls that the older credentials cannot make.
	apiKeyOnly bool
}

// do makes a call and returns the data of a successful answer.
func (c *API) do(ctx context.Context, apiCall call) (json.RawMessage, error) {
	if apiCall.apiKeyOnly && c.keys.apiKey == "" {
		return nil, ErrNeedsAPIKey
	}
	if err := c.throttle.wait(ctx); err != nil {
		return nil, err
	}
	token, err := c.keys.bearer()
	if err != nil {
		return nil, err
	}
	req, err := c.request(ctx, apiCall, token)
	if err != nil {
		return nil, err
	}
	res, err := c.http.Do(req)
	if err != nil {
		return nil, fmt.Errorf("ask %s: %w", c.base.Host, withoutURL(err))
	}
	defer func() { _ = res.Body.Close() }() // only read from
	body, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer+1))
	if err != nil && res.StatusCode < 300 { // a refusal counts without its body
		return nil, fmt.Errorf("read the answer of %s: %w", c.base.Host, withoutURL(err))
	}
	data, err := c.read(res, body, token)
	var refused *APIError
	if errors.As(err, &refused) {
		c.throttle.pause(refused.wait())
		if refused.cause() == badCredentials {
			c.keys.forget(token)
		}
	}
	return data, err
}

func (c *API) request(ctx context.Context, apiCall call, token string) (*http.Request, error) {
	target := c.base.JoinPath(apiCall.path)
	target.RawQuery = apiCall.query
	var body io.Reader
	if apiCall.in != nil {
		encoded, err := json.Marshal(apiCall.in)
		if err != nil {
			return nil, fmt.Errorf("encode: %w", err)
		}
		body = bytes.NewReader(encoded)
	}
	req, err := http.NewRequestWithContext(ctx, apiCall.method, target.String(), body)
	if err != nil {
		return nil, withoutURL(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Content-Type", "application/json") // documented for GET, too
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", userAgent)
	return req, nil
}

// withoutURL removes the URL that url.Error adds, because it may contain secrets, and
// shortens text from the server, such as a malformed redirect.
func withoutURL(err error) error {
	var withURL *url.Error
	if errors.As(err, &withURL) {
		err = withURL.Err
	}
	return shortError{err}
}

type shortError struct{ error }

func (e shortError) Error() string { return quote(query.ReplaceAllString(e.error.Error(), "…")) }

func (e shortError) Unwrap() error { return e.error }

// query matches the query of a link, which may contain a signature.
var query = regexp.MustCompile(`[?#]\S*=\S*`)

// read returns the data of an answer, or an APIError for a refusal. An answer is the
// documented {code, message, request_id, data}, or the seed protocol's bare object.
func (c *API) read(res *http.Response, body []byte, token string) (json.RawMessage, error) {
	body = source.WithoutMark(body)
	envelope := source.ParseObject(body)
	code, _ := strconv.Atoi(envelope.Scalar("code"))
	if res.StatusCode < 200 || res.StatusCode >= 300 || code != 0 {
		message := envelope.Scalar("message")
		for _, other := range []string{envelope.Scalar("error"), envelope.Object("error").Scalar("message")} {
			if message == "" { // relays use other keys
				message = other
			}
		}
		return nil, &APIError{
			Status:     res.StatusCode,
			Code:       code,
			Message:    quote(c.keys.hide(message, token)),
			RequestID:  quote(c.keys.hide(envelope.Scalar("request_id"), token)),
			RetryAfter: tasks.ParseRetryAfter(res.Header.Get("Retry-After"), time.Now()),
		}
	}
	switch {
	case len(body) > maxAnswer:
		return nil, fmt.Errorf("%w: %s sent more than %d bytes", ErrUnreadable, c.base.Host, maxAnswer)
	case envelope == nil:
		return nil, fmt.Errorf("%w: %s did not send a JSON object; check that this is Kling's API", ErrUnreadable, c.base.Host)
	}
	if data, enveloped := envelope["data"]; enveloped {
		return data, nil
	}
	return bytes.TrimSpace(body), nil
}

// maxQuote limits quoted text, in runes.
const maxQuote = 200

// quote makes foreign text fit for an error: one printable line of limited length.
func quote(text string) string {
	text = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, strings.Join(strings.Fields(strings.ToValidUTF8(text, "")), " "))
	if runes := []rune(text); len(runes) > maxQuote {
		return string(runes[:maxQuote]) + "…"
	}
	return text
}
