package simulate

import (
	"crypto/subtle"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// authorize checks what a call is authorized with: an API key, or in the legacy
// form a JWT of the access and the secret key.
func (c Config) authorize(header http.Header, f form, now time.Time) *fault {
	authorization := header.Get("Authorization")
	if authorization == "" {
		return codeAuthMissing.fault("Authorization is empty; send it as: Authorization: Bearer <API key>")
	}
	token, ok := strings.CutPrefix(authorization, "Bearer ")
	if token = strings.TrimSpace(token); !ok || token == "" {
		return codeAuthInvalid.fault("Authorization is not Bearer and a key")
	}
	switch {
	case strings.Count(token, ".") == 2:
		if f == newForm {
			return codeAuthInvalid.fault("this API takes an API key; access and secret keys are for /v1/videos")
		}
		return c.checkJWT(token, now)
	case c.APIKey == "" && c.SecretKey == "":
		return nil
	case c.APIKey == "" || subtle.ConstantTimeCompare([]byte(token), []byte(c.APIKey)) != 1:
		return codeAuthInvalid.fault("the API key is not valid")
	}
	return nil
}

// checkJWT checks a token's times in any case, and who made it where the keys are
// known.
func (c Config) checkJWT(token string, now time.Time) *fault {
	options := []jwt.ParserOption{
		jwt.WithTimeFunc(func() time.Time { return now }), jwt.WithExpirationRequired(), jwt.WithValidMethods([]string{"HS256"}),
	}
	var claims jwt.RegisteredClaims
	var err error
	switch {
	case c.SecretKey != "":
		options = append(options, jwt.WithIssuer(c.AccessKey))
		_, err = jwt.NewParser(options...).ParseWithClaims(token, &claims, func(*jwt.Token) (any, error) { return []byte(c.SecretKey), nil })
	case c.APIKey != "":
		err = errors.New("only the API key is taken")
	default:
		if _, _, err = jwt.NewParser(options...).ParseUnverified(token, &claims); err == nil {
			err = jwt.NewValidator(options...).Validate(claims)
		}
	}
	switch {
	case err == nil:
		return nil
	case errors.Is(err, jwt.ErrTokenExpired):
		return codeExpired.fault("the token has expired; make one with exp in the future")
	case errors.Is(err, jwt.ErrTokenNotValidYet):
		return codeNotYetValid.fault("the token is not valid yet; its nbf is in the future")
	case errors.Is(err, jwt.ErrTokenMalformed):
		return codeAuthInvalid.fault("the token is not a JWT")
	default:
		return codeAuthFailed.fault("the token is not one of this account's: check iss and the keys")
	}
}
