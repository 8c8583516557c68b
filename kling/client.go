package kling

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode"

	"github.com/klinghook/klinghook/tasks"
)

const (
	// DefaultBaseURL is the host that the seed protocol names. Kling's
	// documentation names others for accounts outside and inside China.
	DefaultBaseURL = "https://api.klingai.com"

	defaultTimeout = 30 * time.Second
	// maxAnswer is the longest answer that is read, in bytes.
	maxAnswer = 1 << 20
)

// Config says how to reach Kling's API.
type Config struct {
	// BaseURL is what paths are appended to. Default DefaultBaseURL. It must be
	// https, except for a loopback host.
	BaseURL string
	// APIKey is sent as the Bearer token. Required.
	APIKey string
	// HTTPClient makes the requests. It is copied, and the copy follows no
	// redirect; a zero Timeout becomes 30 s. Default a client of its own.
	HTTPClient *http.Client
}

// Client calls Kling's API. It is safe for concurrent use.
type Client struct {
	base *url.URL
	key  string
	http http.Client
}

// New checks the Config without using the network.
func New(cfg Config) (*Client, error) {
	base, err := parseBase(cfg.BaseURL)
	if err != nil {
		return nil, fmt.Errorf("kling: base URL %w", err)
	}
	key := strings.TrimSpace(cfg.APIKey)
	switch {
	case key == "":
		return nil, errors.New("kling: no API key; set KLINGAI_API_KEY to one from Kling's console")
	case strings.ContainsFunc(key, func(r rune) bool { return r > unicode.MaxASCII || r <= ' ' || r == 0x7f }):
		return nil, errors.New("kling: the API key has characters that no key has; set KLINGAI_API_KEY to one key and nothing else")
	}
	c := &Client{base: base, key: key}
	if cfg.HTTPClient != nil {
		c.http = *cfg.HTTPClient
	}
	if c.http.Timeout == 0 {
		c.http.Timeout = defaultTimeout
	}
	c.http.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return c, nil
}

// String keeps the key out of what prints a Client.
func (c *Client) String() string { return "kling client of " + c.base.Host }

func parseBase(rawURL string) (*url.URL, error) {
	if rawURL == "" {
		rawURL = DefaultBaseURL
	}
	base, err := url.Parse(rawURL)
	switch {
	case err != nil:
		return nil, errors.New("cannot be read; write it as " + DefaultBaseURL)
	case base.Hostname() == "" || base.User != nil || base.RawQuery != "" || base.Fragment != "":
		return nil, errors.New("must be a scheme, a host and perhaps a path, nothing else, such as " + DefaultBaseURL)
	case base.Scheme == "https", base.Scheme == "http" && isLoopback(base.Hostname()):
		return base, nil
	default:
		return nil, fmt.Errorf("must begin with https://, since the API key goes to %s", base.Host)
	}
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return strings.EqualFold(host, "localhost") || ip != nil && ip.IsLoopback()
}

// post sends in as JSON and returns the answer of a call that succeeded.
func (c *Client) post(ctx context.Context, path string, in any) (answer, error) {
	body, err := json.Marshal(in)
	if err != nil {
		return answer{}, fmt.Errorf("encode: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.base.JoinPath(path).String(), bytes.NewReader(body))
	if err != nil {
		return answer{}, withoutURL(err)
	}
	req.Header.Set("Authorization", "Bearer "+c.key)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", "klinghook")
	res, err := c.http.Do(req)
	if err != nil {
		return answer{}, fmt.Errorf("post to %s: %w", c.base.Host, withoutURL(err))
	}
	defer func() { _ = res.Body.Close() }() // only read from
	got, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer+1))
	if err != nil && res.StatusCode < 300 { // a refusal that breaks off is still one
		return answer{}, fmt.Errorf("read the answer of %s: %w", c.base.Host, withoutURL(err))
	}
	return c.read(res, got)
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
func (c *Client) read(res *http.Response, body []byte) (answer, error) {
	parsed, parseErr := parseAnswer(body)
	if res.StatusCode >= 200 && res.StatusCode < 300 && parsed.code == 0 {
		switch {
		case len(body) > maxAnswer:
			return answer{}, fmt.Errorf("the answer of %s is longer than %d bytes", c.base.Host, maxAnswer)
		case parseErr != nil:
			return answer{}, fmt.Errorf("the answer of %s is not the JSON that was expected; check that this is Kling's API", c.base.Host)
		}
		return parsed, nil
	}
	return answer{}, &APIError{
		Status:     res.StatusCode,
		Code:       parsed.code,
		Message:    c.quote(parsed.message),
		RequestID:  c.quote(parsed.requestID),
		RetryAfter: tasks.ParseRetryAfter(res.Header.Get("Retry-After"), time.Now()),
	}
}

// maxQuote bounds what is repeated of Kling's words, in runes.
const maxQuote = 200

// quote makes Kling's words fit for an error: one line, no key, of bounded length.
func (c *Client) quote(text string) string {
	text = strings.ReplaceAll(strings.ToValidUTF8(text, ""), c.key, "…")
	text = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, strings.Join(strings.Fields(text), " "))
	if runes := []rune(text); len(runes) > maxQuote {
		return string(runes[:maxQuote]) + "…"
	}
	return text
}
