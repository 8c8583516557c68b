package tasks

import (
	"errors"
	"net/http"
	"strconv"
	"time"
)

// Permanent declares that a retry cannot help: the task is not retried. Every
// other error is retried. Permanent(nil) is nil.
func Permanent(err error) error {
	if err == nil {
		return nil
	}
	return &permanentError{err}
}

// IsPermanent reports whether err wraps an error declared Permanent.
func IsPermanent(err error) bool {
	var p *permanentError
	return errors.As(err, &p)
}

type permanentError struct{ error }

func (e *permanentError) Unwrap() error { return e.error }

// RetryAfter declares how long the other side asked to wait, such as in an HTTP
// Retry-After header. The next attempt comes no sooner. RetryAfter(nil) is nil.
func RetryAfter(err error, wait time.Duration) error {
	if err == nil {
		return nil
	}
	return &retryAfterError{err, wait}
}

// RetryAfterOf returns the wait that was declared with RetryAfter, or zero.
func RetryAfterOf(err error) time.Duration {
	var r *retryAfterError
	if errors.As(err, &r) {
		return r.wait
	}
	return 0
}

type retryAfterError struct {
	error
	wait time.Duration
}

func (e *retryAfterError) Unwrap() error { return e.error }

// PutOff declares that the task was not tried because it is not its turn. It runs again
// after the wait, which costs no attempt. A last attempt cannot be put off.
func PutOff(reason error, wait time.Duration) error {
	return &putOffError{reason, wait}
}

// PutOffOf returns the wait that was declared with PutOff, and whether it was.
func PutOffOf(err error) (wait time.Duration, putOff bool) {
	var p *putOffError
	if errors.As(err, &p) {
		return p.wait, true
	}
	return 0, false
}

type putOffError struct {
	error
	wait time.Duration
}

func (e *putOffError) Unwrap() error { return e.error }

// maxRetryAfter limits a mistaken header, because a link may expire meanwhile.
const maxRetryAfter = time.Hour

// ParseRetryAfter reads a Retry-After header, seconds or a date (RFC 9110, section
// 10.2.3), up to an hour. It returns zero for no wait or an unreadable value.
func ParseRetryAfter(value string, now time.Time) time.Duration {
	var wait time.Duration
	if seconds, err := strconv.ParseUint(value, 10, 64); err == nil {
		wait = time.Duration(min(seconds, uint64(maxRetryAfter/time.Second))) * time.Second
	} else if at, err := http.ParseTime(value); err == nil {
		wait = at.Sub(now)
	}
	return min(max(wait, 0), maxRetryAfter)
}

// ErrErased reports that the job was deleted and must not come back.
var ErrErased = errors.New("the job was deleted")
