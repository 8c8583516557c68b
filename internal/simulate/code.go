package simulate

import (
	"net/http"
	"regexp"
	"strconv"
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

// status returns the HTTP status that goes with a code; 0 where Kling has no such
// code.
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

// fault is an answer by which a call is refused.
type fault struct {
	code    code
	message string
}

func (c code) fault(message string) *fault { return &fault{c, message} }

// askedFault returns the refusal that a prompt asks for by "simulate" and a code;
// nil where it asks for none.
func askedFault(prompt string) *fault {
	found := regexp.MustCompile(`\bsimulate (\d{4})\b`).FindStringSubmatch(prompt)
	if found == nil {
		return nil
	}
	n, _ := strconv.Atoi(found[1])
	if code(n).status() == 0 {
		return codeParameterValue.fault("the prompt asks for code " + found[1] + ", which Kling does not have")
	}
	return code(n).fault("as the prompt asks for")
}
