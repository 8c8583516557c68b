package ingest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"golang.org/x/time/rate"

	"github.com/klinghook/klinghook/internal/source"
)

// A token in a path can leak. hintsPerSecond and hintsAtOnce limit the callbacks per
// token, and maxHint their bodies, in bytes.
const (
	hintsPerSecond = 5
	hintsAtOnce    = 100
	maxHint        = smallBody
)

// Endpoint is a protocol to receive, with the secrets that it accepts.
type Endpoint struct {
	Protocol source.Protocol
	Source   source.Source
	// Tokens, if set, are the valid tokens at the end of the path.
	Tokens []string
	// Open, if set together with Tokens, returns an error while nothing is accepted.
	Open     func(context.Context) error
	limiters []*rate.Limiter // one per token
}

// Endpoints returns an endpoint for each protocol that has a secret, and the protocols
// that have none. secrets returns the values of a setting.
func Endpoints(secrets func(setting string) []string) (enabled []Endpoint, disabled []source.Protocol, err error) {
	unsigned := source.CallbackProtocol()
	for _, protocol := range append(source.Protocols(), unsigned) {
		list := secrets(protocol.SecretSetting)
		if len(list) == 0 {
			disabled = append(disabled, protocol)
			continue
		}
		endpoint := Endpoint{Protocol: protocol}
		if protocol.Name == unsigned.Name {
			endpoint.Tokens, list = list, nil
			for range endpoint.Tokens {
				endpoint.limiters = append(endpoint.limiters, rate.NewLimiter(hintsPerSecond, hintsAtOnce))
			}
		}
		if endpoint.Source, err = protocol.New(list); err != nil {
			return nil, nil, fmt.Errorf("%s: %w", protocol.SecretSetting, err)
		}
		enabled = append(enabled, endpoint)
	}
	return enabled, disabled, nil
}

// maxBody returns the largest accepted body in bytes; signed is the limit for signed bodies.
func (e Endpoint) maxBody(signed int64) int64 {
	if len(e.Tokens) == 0 {
		return signed
	}
	return min(signed, maxHint)
}

// admit checks the token at the end of the path and how often it was used recently.
// Without a valid token the answer is 404.
func (e Endpoint) admit(ctx context.Context, token string, at time.Time) *refusal {
	if len(e.Tokens) == 0 {
		return nil
	}
	i := slices.IndexFunc(e.Tokens, func(valid string) bool { return source.IsToken(token, []string{valid}) })
	if i < 0 {
		return &refusal{http.StatusNotFound, "not found", outcomeToken, errors.New("the token in the path is unknown")}
	}
	if !e.limiters[i].AllowN(at, 1) {
		return unavailable("too many callbacks", outcomeThrottled, fmt.Errorf("more than %d callbacks a second with one token", hintsPerSecond))
	}
	if e.Open == nil {
		return nil
	}
	if err := e.Open(ctx); err != nil {
		return &refusal{http.StatusServiceUnavailable, "unsigned callbacks are not accepted: " + err.Error(), outcomeOff, err}
	}
	return nil
}
