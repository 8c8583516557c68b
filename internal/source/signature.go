package source

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"strings"
)

// Fingerprint names a secret without giving it away: "sha256:" and the first 8
// hex digits of the SHA-256 of the secret as it was configured. It is what is
// kept with an event, so that rotated secrets can be told apart.
func Fingerprint(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return "sha256:" + hex.EncodeToString(sum[:4])
}

// onlyValue returns the value of a header that a signature rests on. A header
// given twice is refused: another reader of the same request could take the
// other value for the signed one.
func onlyValue(header http.Header, name string) (string, error) {
	values := header.Values(name)
	if len(values) > 1 {
		return "", fmt.Errorf("%w: %s is given more than once", ErrSignature, name)
	}
	if len(values) == 0 || strings.TrimSpace(values[0]) == "" {
		return "", fmt.Errorf("%w: %s is missing", ErrSignature, name)
	}
	return values[0], nil
}

// mismatchError says that a signature of the right form is by none of the secrets.
type mismatchError struct {
	// tried is how many secrets there are, and bodyBytes how long the body is.
	tried, bodyBytes int
	// setting is where the secrets are from.
	setting string
}

func (e *mismatchError) Error() string {
	return fmt.Sprintf("signature does not match; secrets tried: %d; body of %d bytes; is the sender's secret in %s, and the body passed on unchanged?",
		e.tried, e.bodyBytes, e.setting)
}

func (e *mismatchError) Is(target error) bool { return target == ErrSignature }
