package source

import (
	"net/http"
	"time"
)

// Unverified returns the source with its signature check taken away: Verify
// accepts every delivery, signed or not, and names no secret. Whoever reaches
// it can invent events. Only `dev --insecure-skip-verify` may use it.
func Unverified(s Source) Source {
	return unverified{s}
}

type unverified struct{ Source }

func (unverified) Verify(http.Header, []byte, time.Time) (string, error) {
	return "", nil
}
