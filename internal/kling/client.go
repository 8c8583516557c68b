package kling

import (
	"errors"
	"fmt"
	"math"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

const (
	// DefaultBaseURL is the host that the seed protocol names. Kling's
	// documentation names https://api-singapore.klingai.com for servers outside
	// China and https://api-beijing.klingai.com for those inside.
	DefaultBaseURL = "https://api.klingai.com"
	// DefaultTimeout is how long one request may take.
	DefaultTimeout = 30 * time.Second
	// DefaultRate is how many requests a second a Client makes at most.
	DefaultRate = 5
	// DefaultUserAgent is what a Client calls itself.
	DefaultUserAgent = "klinghook"
)

// Config says how to reach Kling's API. Either APIKey is set, or AccessKey and
// SecretKey.
type Config struct {
	// BaseURL is what paths are appended to. Default DefaultBaseURL. It must be
	// https, except for a loopback host.
	BaseURL string
	// APIKey is sent as the Bearer token. All of the API takes it.
	APIKey string
	// AccessKey and SecretKey are the older credentials, which only the legacy API
	// takes: the secret key signs a JWT that names the access key.
	AccessKey, SecretKey string
	// Rate is how many requests a second the Client makes at most, evenly spaced.
	// Default DefaultRate.
	Rate float64
	// Timeout is how long one request may take, its answer included; a wait for
	// its turn is not counted. Default that of HTTPClient, else DefaultTimeout.
	Timeout time.Duration
	// UserAgent is what the Client calls itself. Default DefaultUserAgent.
	UserAgent string
	// HTTPClient makes the requests. It is copied, and the copy follows no
	// redirect. Default a client of its own.
	HTTPClient *http.Client
}

// String keeps the keys out of what prints a Config.
func (cfg Config) String() string { return "kling config of " + cfg.BaseURL }

// GoString is String, for the verb that would print every field.
func (cfg Config) GoString() string { return cfg.String() }

// Client calls Kling's API. It is safe for concurrent use.
type Client struct {
	base      *url.URL
	keys      *credentials
	pace      *pace
	userAgent string
	http      http.Client
}

// New checks the Config without using the network.
func New(cfg Config) (*Client, error) {
	base, err := parseBase(cfg.BaseURL)
	if err != nil {
		return nil, fmt.Errorf("kling: base URL %w", err)
	}
	keys, err := newCredentials(cfg)
	if err != nil {
		return nil, fmt.Errorf("kling: %w", err)
	}
	switch {
	case cfg.Rate == 0:
		cfg.Rate = DefaultRate
	case !(cfg.Rate > 0) || math.IsInf(cfg.Rate, 1): // NaN is not above 0 either
		return nil, fmt.Errorf("kling: a rate of %g requests a second; set it above 0", cfg.Rate)
	}
	if cfg.Timeout < 0 {
		return nil, fmt.Errorf("kling: a timeout of %s; set it above 0", cfg.Timeout)
	}
	if cfg.UserAgent == "" {
		cfg.UserAgent = DefaultUserAgent
	}
	c := &Client{base: base, keys: keys, pace: newPace(cfg.Rate), userAgent: cfg.UserAgent}
	if cfg.HTTPClient != nil {
		c.http = *cfg.HTTPClient
	}
	switch {
	case cfg.Timeout > 0:
		c.http.Timeout = cfg.Timeout
	case c.http.Timeout == 0:
		c.http.Timeout = DefaultTimeout
	}
	c.http.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return c, nil
}

// String keeps the keys out of what prints a Client.
func (c *Client) String() string { return "kling client of " + c.base.Host }

// GoString is String, for the verb that would print every field.
func (c *Client) GoString() string { return c.String() }

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
