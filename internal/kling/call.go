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
	"strings"
	"time"
	"unicode"

	"github.com/klinghook/klinghook/tasks"
)

// maxAnswer is the longest answer that is read, in bytes. A list of 500 jobs has
// about 1 MiB.
const maxAnswer = 8 << 20

// call is one request of the API.
type call struct {
	method string
	// path is escaped; query is encoded.
	path, query string
	// in is sent as JSON; nil for no body.
	in any
	// apiKeyOnly marks what takes no token of the older credentials.
	apiKeyOnly bool
}

// do makes a call and returns the answer of one that succeeded.
func (c *Client) do(ctx context.Context, what call) (answer, error) {
	if what.apiKeyOnly && c.keys.apiKey == "" {
		return answer{}, ErrNeedsAPIKey
	}
	if err := c.pace.wait(ctx); err != nil {
		return answer{}, err
	}
	token, err := c.keys.bearer()
	if err != nil {
		return answer{}, err
	}
	req, err := c.request(ctx, what, token)
	if err != nil {
		return answer{}, err
	}
	res, err := c.http.Do(req)
	if err != nil {
		action := "ask"
		if what.method == http.MethodPost {
			action = "post to"
		}
		return answer{}, fmt.Errorf("%s %s: %w", action, c.base.Host, withoutURL(err))
	}
	defer func() { _ = res.Body.Close() }() // only read from
	body, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer+1))
	if err != nil && res.StatusCode < 300 { // a refusal that breaks off is still one
		return answer{}, fmt.Errorf("read the answer of %s: %w", c.base.Host, withoutURL(err))
	}
	got, err := c.read(res, body, token)
	var refused *APIError
	if errors.As(err, &refused) {
		c.pace.pause(refused.Wait())
		if refused.cause() == badCredentials {
			c.keys.forget(token)
		}
	}
	return got, err
}

func (c *Client) request(ctx context.Context, what call, token string) (*http.Request, error) {
	target := c.base.JoinPath(what.path)
	target.RawQuery = what.query
	var body io.Reader
	if what.in != nil {
		encoded, err := json.Marshal(what.in)
		if err != nil {
			return nil, fmt.Errorf("encode: %w", err)
		}
		body = bytes.NewReader(encoded)
	}
	req, err := http.NewRequestWithContext(ctx, what.method, target.String(), body)
	if err != nil {
		return nil, withoutURL(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Content-Type", "application/json") // documented for GET, too
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", c.userAgent)
	return req, nil
}

// withoutURL drops what url.Error adds to its cause: a URL may hold secrets.
func withoutURL(err error) error {
	var withURL *url.Error
	if errors.As(err, &withURL) {
		return withURL.Err
	}
	return err
}

// read tells a success from a failure, by the status and by the envelope's code.
func (c *Client) read(res *http.Response, body []byte, token string) (answer, error) {
	parsed, parseErr := parseAnswer(body)
	if res.StatusCode >= 200 && res.StatusCode < 300 && parsed.code == 0 {
		switch {
		case len(body) > maxAnswer:
			return answer{}, fmt.Errorf("%w: that of %s is longer than %d bytes", ErrUnreadable, c.base.Host, maxAnswer)
		case parseErr != nil:
			return answer{}, fmt.Errorf("%w: that of %s is not the JSON that was expected; check that this is Kling's API", ErrUnreadable, c.base.Host)
		}
		return parsed, nil
	}
	return answer{}, &APIError{
		Status:     res.StatusCode,
		Code:       parsed.code,
		Message:    quote(c.keys.hide(parsed.message, token)),
		RequestID:  quote(c.keys.hide(parsed.requestID, token)),
		RetryAfter: tasks.ParseRetryAfter(res.Header.Get("Retry-After"), time.Now()),
	}
}

// maxQuote bounds what is repeated of others' words, in runes.
const maxQuote = 200

// quote makes others' words fit for an error: one line, of bounded length.
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
