package ingest

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"net/http"
)

// admit decides, for an endpoint whose path ends in a token, whether a delivery is
// looked at. To who has no token the path does not exist. It keeps nothing of the
// token.
func (e Endpoint) admit(ctx context.Context, token string) *refusal {
	if len(e.Tokens) == 0 {
		return nil
	}
	if !e.knows(token) {
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

// knows compares with every token, in a time that tells nothing of any.
func (e Endpoint) knows(token string) bool {
	given := sha256.Sum256([]byte(token))
	known := 0
	for _, t := range e.Tokens {
		want := sha256.Sum256([]byte(t))
		known |= subtle.ConstantTimeCompare(given[:], want[:])
	}
	return known == 1
}
