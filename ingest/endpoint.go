package ingest

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/klinghook/klinghook/internal/source"
)

// Endpoint is a protocol that is received, with the secrets that it accepts.
type Endpoint struct {
	Protocol source.Protocol
	Source   source.Source
	// Tokens are set when the path ends in a token, which must be one of them.
	Tokens []string
	// Open, if set beside Tokens, returns why nothing is accepted now.
	Open func(context.Context) error
}

// Endpoints returns an endpoint for each protocol that has a secret, and the protocols
// that have none. secrets returns the values of a setting.
func Endpoints(secrets func(setting string) []string) (enabled []Endpoint, disabled []source.Protocol, err error) {
	unsigned := source.CallbackProtocol()
	for _, p := range append(source.Protocols(), unsigned) {
		list := secrets(p.SecretSetting)
		if len(list) == 0 {
			disabled = append(disabled, p)
			continue
		}
		e := Endpoint{Protocol: p}
		if p.Name == unsigned.Name {
			e.Tokens, list = list, nil
		}
		if e.Source, err = p.New(list); err != nil {
			return nil, nil, fmt.Errorf("%s: %w", p.SecretSetting, err)
		}
		enabled = append(enabled, e)
	}
	return enabled, disabled, nil
}

// admit checks the token at the end of the path. Without a valid token the answer is
// 404.
func (e Endpoint) admit(ctx context.Context, token string) *refusal {
	if len(e.Tokens) == 0 {
		return nil
	}
	if !source.IsToken(token, e.Tokens) {
		return &refusal{http.StatusNotFound, "not found", outcomeToken, errors.New("the token in the path is unknown")}
	}
	if e.Open == nil {
		return nil
	}
	if err := e.Open(ctx); err != nil {
		return &refusal{http.StatusServiceUnavailable, "unsigned callbacks are not accepted: " + err.Error(), outcomeOff, err}
	}
	return nil
}
