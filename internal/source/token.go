package source

import (
	"crypto/sha256"
	"crypto/subtle"
)

// IsToken reports whether given is one of the tokens. Its running time reveals nothing
// about them.
func IsToken(given string, tokens []string) bool {
	sum := sha256.Sum256([]byte(given))
	equal := 0
	for _, token := range tokens {
		want := sha256.Sum256([]byte(token))
		equal |= subtle.ConstantTimeCompare(sum[:], want[:])
	}
	return equal == 1
}
