package kling

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

var (
	// ErrNotFound reports a job that Kling does not know, or not under the kinds asked.
	ErrNotFound = errors.New("not known to Kling")
	// ErrUnreadable reports an answer that says success but is not what Kling
	// documents: another host's page, JSON that is cut short, a job without an id.
	ErrUnreadable = errors.New("the answer cannot be read")
	// ErrInvalid reports an argument that cannot be sent, so that no request was made.
	ErrInvalid = errors.New("not asked")
	// ErrNeedsAPIKey reports a call of the new API with the older credentials.
	ErrNeedsAPIKey = errors.New("this needs an API key instead of an access and a secret key; create one in Kling's console and set KLINGAI_API_KEY")
)

// APIError is an answer that refused a call. Its text says what to do. It matches
// ErrNotFound if Kling says that the job does not exist; a 404 without Kling's words
// does not match, because it more likely means a wrong base URL.
type APIError struct {
	// Status is the HTTP status. It is 200 if only the code reports the failure.
	Status int
	// Code is Kling's code; 0 if the answer has none.
	Code int
	// Message is Kling's, shortened to one line.
	Message string
	// RequestID identifies the call for Kling's support.
	RequestID string
	// RetryAfter is the wait that the answer asked for, at most an hour.
	RetryAfter time.Duration
}

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
	return b.String() + "; " + e.advice()
}

// cause is the reason for a refusal.
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

// codes are Kling's codes as documented in 2026.
var codes = []struct {
	first, last int
	cause       cause
}{
	{1000, 1004, badCredentials},
	{1100, 1102, account},
	{1103, 1103, forbidden},
	{1200, 1201, badRequest},
	{1202, 1203, missing},
	{1300, 1301, policy},
	{1302, 1303, tooFast},
	{1304, 1304, address},
	{5000, 5002, outage},
}

// cause returns the meaning of the code, or else of the status.
func (e *APIError) cause() cause {
	for _, c := range codes {
		if c.first <= e.Code && e.Code <= c.last {
			return c.cause
		}
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
	}
	return unknown
}

var advices = map[cause]string{
	unknown:        "this is not documented; ask Kling's support",
	badCredentials: "check KLINGAI_API_KEY, or the access and secret key: they must be valid keys of this host's account",
	account:        "check the account and its credit in Kling's console; trying again does not help",
	forbidden:      "this account may not do that; see its permissions in Kling's console",
	badRequest:     "Kling does not accept this request; trying again does not help",
	missing:        "this host does not have the requested resource; check the host and the id",
	policy:         "Kling's content policy refused it; trying again does not help",
	address:        "add this machine's public IP address to the account's allow list in Kling's console",
	outage:         "Kling has an outage; try again later",
	redirect:       "redirects are not followed, because the API key stays with the configured host; check the base URL",
}

func (e *APIError) advice() string {
	switch {
	case e.Code == 1003, e.Code == 1004:
		return "the token is not valid at this time: check this machine's clock"
	case e.cause() == tooFast:
		return fmt.Sprintf("too many requests; try again in %s", e.wait())
	}
	return advices[e.cause()]
}

// Is makes errors.Is match ErrNotFound if Kling says that the job does not exist.
func (e *APIError) Is(target error) bool {
	if target != ErrNotFound || e.cause() != missing {
		return false
	}
	return e.Code != 0 || e.Status == http.StatusNotFound && e.Message != ""
}

// wait is WaitOf for an APIError.
func (e *APIError) wait() time.Duration {
	switch e.cause() {
	case tooFast:
		if e.RetryAfter == 0 {
			return time.Second
		}
		return e.RetryAfter
	case outage:
		return e.RetryAfter
	}
	return 0
}

// WaitOf returns how long to wait before the next call after an error: the time that
// Kling asked for, 1 s after too many requests, else 0.
func WaitOf(err error) time.Duration {
	var early *WaitError
	if errors.As(err, &early) {
		return early.For
	}
	var refused *APIError
	if errors.As(err, &refused) {
		return refused.wait()
	}
	return 0
}

// aboutOneJob reports whether a refusal may concern only the job or kind asked for.
func aboutOneJob(err error) bool {
	var refused *APIError
	return errors.Is(err, ErrNotFound) ||
		errors.As(err, &refused) && slices.Contains([]cause{missing, badRequest, forbidden}, refused.cause())
}

// AboutJobs reports whether an error of a look-up concerns only the jobs asked for:
// ids that Kling refuses or does not know, answers that cannot be read. Other jobs
// may still succeed. It is false for nil.
func AboutJobs(err error) bool {
	var several interface{ Unwrap() []error }
	if errors.As(err, &several) {
		// Either a sentinel and its detail, or the errors of several jobs.
		list := several.Unwrap()
		return slices.Contains(list, ErrInvalid) || slices.Contains(list, ErrUnreadable) ||
			!slices.ContainsFunc(list, func(err error) bool { return !AboutJobs(err) })
	}
	return aboutOneJob(err) || errors.Is(err, ErrInvalid) || errors.Is(err, ErrUnreadable)
}
