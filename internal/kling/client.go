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
	// DefaultBaseURL is the host that the seed protocol names. Kling documents
	// https://api-singapore.klingai.com for servers outside China and
	// https://api-beijing.klingai.com for servers inside.
	DefaultBaseURL = "https://api.klingai.com"
	defaultTimeout = 30 * time.Second
	defaultRate    = 5
	userAgent      = "klinghook"
)

// Config configures an API. Set either APIKey, or AccessKey and SecretKey.
type Config struct {
	// BaseURL is the URL that paths are appended to. Default DefaultBaseURL. It must
	// be https, except for a loopback host.
	BaseURL string
	// APIKey is the Bearer token. Every API accepts it.
	APIKey string
	// AccessKey and SecretKey are the older credentials, which only the legacy API
	// accepts.
	AccessKey, SecretKey string
	// Rate limits the requests per second, which are evenly spaced. Default 5.
	Rate float64
	// HTTPClient makes the requests. It is copied, and the copy does not follow
	// redirects. Default a client with a timeout of 30 s.
	HTTPClient *http.Client
}

// API is a client of Kling's API. It is safe for concurrent use.
type API struct {
	base     *url.URL
	keys     *credentials
	throttle *throttle
	http     http.Client
}

// New checks the Config without using the network.
func New(cfg Config) (*API, error) {
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
		cfg.Rate = defaultRate
	case !(cfg.Rate > 0) || math.IsInf(cfg.Rate, 1): // NaN is not above 0 either
		return nil, fmt.Errorf("kling: a rate of %g requests a second; set it above 0", cfg.Rate)
	}
	c := &API{base: base, keys: keys, throttle: newThrottle(cfg.Rate)}
	if cfg.HTTPClient != nil {
		c.http = *cfg.HTTPClient
	}
	if c.http.Timeout == 0 {
		c.http.Timeout = defaultTimeout
	}
	c.http.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return c, nil
}

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
	}
	return nil, fmt.Errorf("must begin with https://, because the API key is sent to %s", base.Host)
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return strings.EqualFold(host, "localhost") || ip != nil && ip.IsLoopback()
}
