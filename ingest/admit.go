package ingest

import (
	"context"
	"errors"
	"net/http"

	"github.com/klinghook/klinghook/internal/source"
)

// admit decides, for an endpoint whose path ends in a token, whether a delivery is
// looked at. To who has no token the path does not exist. It keeps nothing of the
// token.
func (e Endpoint) admit(ctx context.Context, token string) *refusal {
	if len(e.Tokens) == 0 {
		return nil
	}
	if !source.IsToken(token, e.Tokens) {
		return &refusal{http.StatusNotFound, "not found", outcomeToken, errors.New("the token at the end of the path is none of the set ones")}
	}
	if e.Open == nil {
		return nil
	}
	if err := e.Open(ctx); err != nil {
		return &refusal{http.StatusServiceUnavailable, "unsigned callbacks are not taken: " + err.Error(), outcomeOff, err}
	}
	return nil
}
