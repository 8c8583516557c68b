package simulate

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// code is one of the codes that Kling documents.
type code int

const (
	codeAuthFailed     code = 1000
	codeAuthMissing    code = 1001
	codeAuthInvalid    code = 1002
	codeNotYetValid    code = 1003
	codeExpired        code = 1004
	codeParameters     code = 1200
	codeParameterValue code = 1201
	codeMethod         code = 1202
	codeNotFound       code = 1203
	codeRate           code = 1302
	codeParallel       code = 1303
	codeInternal       code = 5000
)

// status returns the HTTP status of a code; 0 if Kling has no such code.
func (c code) status() int {
	switch c {
	case 1000, 1001, 1002, 1003, 1004:
		return http.StatusUnauthorized
	case 1100, 1101, 1102, 1302, 1303, 1304:
		return http.StatusTooManyRequests
	case 1103:
		return http.StatusForbidden
	case 1200, 1201, 1300, 1301:
		return http.StatusBadRequest
	case 1202, 1203:
		return http.StatusNotFound
	case 5000:
		return http.StatusInternalServerError
	case 5001:
		return http.StatusServiceUnavailable
	case 5002:
		return http.StatusGatewayTimeout
	}
	return 0
}

// fault is the answer to a refused call.
type fault struct {
	code    code
	message string
}

func (c code) fault(message string) *fault { return &fault{c, message} }

var simulated = regexp.MustCompile(`\bsimulate (\d{4})\b`)

// askedFault returns the fault that a prompt such as "simulate 1301" asks for, if any.
func askedFault(prompt string) *fault {
	found := simulated.FindStringSubmatch(prompt)
	if found == nil {
		return nil
	}
	n, _ := strconv.Atoi(found[1])
	if code(n).status() == 0 {
		return codeParameterValue.fault("the prompt asks for code " + found[1] + ", which Kling does not have")
	}
	return code(n).fault("the prompt asks for this code")
}

// authorize checks an API key or, in the legacy form, a JWT of the access and secret key.
func (c Config) authorize(header http.Header, f form, now time.Time) *fault {
	authorization := header.Get("Authorization")
	if authorization == "" {
		return codeAuthMissing.fault("there is no Authorization header; send Authorization: Bearer <API key>")
	}
	token, ok := strings.CutPrefix(authorization, "Bearer ")
	isJWT := strings.Count(token, ".") == 2
	switch {
	case !ok || strings.TrimSpace(token) == "":
		return codeAuthInvalid.fault("the Authorization header must be Bearer and a key")
	case isJWT && f == newForm:
		return codeAuthInvalid.fault("this API needs an API key; access and secret keys are for /v1/videos")
	case isJWT && c.SecretKey != "":
		return c.checkJWT(token, now)
	case c.APIKey == "" && c.SecretKey == "":
		return nil
	case c.APIKey == "" || subtle.ConstantTimeCompare([]byte(token), []byte(c.APIKey)) != 1:
		return codeAuthInvalid.fault("the API key is not valid")
	}
	return nil
}

// checkJWT checks a JWT that is signed with HS256.
func (c Config) checkJWT(token string, now time.Time) *fault {
	var header struct{ Alg string }
	var claims struct {
		Iss      string
		Exp, Nbf float64
	}
	parts := strings.Split(token, ".")
	signature, err := base64.RawURLEncoding.DecodeString(parts[2])
	if err != nil || decodePart(parts[0], &header) != nil || decodePart(parts[1], &claims) != nil {
		return codeAuthInvalid.fault("the token is not a JWT")
	}
	mac := hmac.New(sha256.New, []byte(c.SecretKey))
	mac.Write([]byte(parts[0] + "." + parts[1]))
	switch {
	case header.Alg != "HS256" || claims.Iss != c.AccessKey || !hmac.Equal(signature, mac.Sum(nil)):
		return codeAuthFailed.fault("the token was not made with this account's keys; check iss and the secret key")
	case float64(now.Unix()) >= claims.Exp:
		return codeExpired.fault("the token has expired; set exp in the future")
	case float64(now.Unix()) < claims.Nbf:
		return codeNotYetValid.fault("the token is not valid yet; its nbf is in the future")
	}
	return nil
}

// decodePart decodes the header or the claims of a JWT.
func decodePart(part string, v any) error {
	content, err := base64.RawURLEncoding.DecodeString(part)
	if err != nil {
		return err
	}
	return json.Unmarshal(content, v)
}
