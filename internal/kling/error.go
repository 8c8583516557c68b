package kling

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// What errors of this package are, for errors.Is.
var (
	// ErrNotFound is a job that Kling does not know, or has not under the kind that
	// was asked.
	ErrNotFound = errors.New("not known to Kling")
	// ErrUnreadable is an answer that says success and is not what Kling documents:
	// another host's page, JSON that is cut short, a job without an id.
	ErrUnreadable = errors.New("the answer cannot be read")
	// ErrInvalid is an argument that no request can be made of.
	ErrInvalid = errors.New("not asked")
	// ErrNeedsAPIKey is a call of the new API by a Client that has only the older
	// credentials.
	ErrNeedsAPIKey = errors.New("this needs an API key, which an access and a secret key do not replace; make one in Kling's console and set KLINGAI_API_KEY")
)

// APIError is an answer by which Kling, or something before it, refused a call.
// Its text says what to do. It is ErrNotFound for errors.Is when Kling says that
// what was asked for does not exist; a 404 without a word of Kling's is more likely
// a wrong base URL, and is not.
type APIError struct {
	// Status is the HTTP status. It is 200 where only the code tells of a failure.
	Status int
	// Code is Kling's own; 0 when the answer has none.
	Code int
	// Message is Kling's, shortened to one line; may be empty.
	Message string
	// RequestID is what Kling's support asks for; may be empty.
	RequestID string
	// RetryAfter is the wait that the answer asked for, an hour at most; 0 when it
	// asked for none. See Wait.
	RetryAfter time.Duration
}

// Error says what Kling answered and what to do about it.
func (e *APIError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "Kling answered %d", e.Status)
	if name := http.StatusText(e.Status); name != "" {
		b.WriteString(" " + name)
	}
	var details []string
	if e.Code != 0 {
		details = append(details, fmt.Sprintf("code %d", e.Code))
	}
	if e.RequestID != "" {
		details = append(details, "request_id "+e.RequestID)
	}
	if len(details) > 0 {
		b.WriteString(" (" + strings.Join(details, ", ") + ")")
	}
	if e.Message != "" {
		fmt.Fprintf(&b, ": %q", e.Message)
	}
	b.WriteString("; " + e.advice())
	return b.String()
}

// cause is what lies behind a failure, and so what helps.
type cause int

const (
	unknown cause = iota
	badCredentials
	account
	forbidden
	badRequest
	missing
	policy
	tooFast
	address
	outage
	redirect
)

// cause goes by Kling's code (kinds as documented in 2026), else by the status.
func (e *APIError) cause() cause {
	switch code := e.Code; {
	case code >= 1000 && code <= 1004:
		return badCredentials
	case code >= 1100 && code <= 1102:
		return account
	case code == 1103:
		return forbidden
	case code == 1200, code == 1201:
		return badRequest
	case code == 1202, code == 1203:
		return missing
	case code == 1300, code == 1301:
		return policy
	case code == 1302, code == 1303:
		return tooFast
	case code == 1304:
		return address
	case code >= 5000 && code <= 5002:
		return outage
	}
	switch status := e.Status; {
	case status == http.StatusUnauthorized:
		return badCredentials
	case status == http.StatusPaymentRequired:
		return account
	case status == http.StatusForbidden:
		return forbidden
	case status == http.StatusNotFound, status == http.StatusMethodNotAllowed:
		return missing
	case status == http.StatusTooManyRequests:
		return tooFast
	case status == http.StatusRequestTimeout, status >= 500 && status != http.StatusNotImplemented:
		return outage
	case status >= 400 && status < 500:
		return badRequest
	case status >= 300 && status < 400:
		return redirect
	default:
		return unknown
	}
}

func (e *APIError) advice() string {
	switch e.cause() {
	case badCredentials:
		if e.Code == 1003 || e.Code == 1004 {
			return "the token's time is not now: check this machine's clock"
		}
		return "check KLINGAI_API_KEY, or the access and secret key: they must be valid keys of this host's account"
	case account:
		return "check the account and its credit in Kling's console; trying again does not help"
	case forbidden:
		return "this account may not do that; see its permissions in Kling's console"
	case badRequest:
		return "the request is not what Kling takes; trying again does not help"
	case missing:
		return "this host does not have what was asked for; check the host and the id"
	case policy:
		return "Kling's content policy refused it; trying again does not help"
	case tooFast:
		return fmt.Sprintf("too many requests; try again in %s", e.Wait())
	case address:
		return "add this machine's public IP address to the account's allow list in Kling's console"
	case outage:
		return "Kling has trouble; try again later"
	case redirect:
		return "redirects are not followed, since the API key stays with the configured host; check the base URL"
	default:
		return "this is not documented; ask Kling's support"
	}
}

// Is reports whether the error is the target; see APIError.
func (e *APIError) Is(target error) bool {
	if target != ErrNotFound || e.cause() != missing {
		return false
	}
	return e.Code != 0 || e.Status == http.StatusNotFound && e.Message != ""
}

// Retryable reports whether the same call may succeed later, after Wait.
func (e *APIError) Retryable() bool {
	c := e.cause()
	return c == tooFast || c == outage
}

// Wait is how long to leave Kling alone before a retry at the least: what it
// asked for, else 1 s after too many requests, else 0, which leaves it to the
// caller's backoff. It is 0 for what is not Retryable.
func (e *APIError) Wait() time.Duration {
	switch {
	case !e.Retryable():
		return 0
	case e.RetryAfter > 0:
		return e.RetryAfter
	case e.cause() == tooFast:
		return time.Second
	default:
		return 0
	}
}
