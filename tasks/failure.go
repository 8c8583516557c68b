package tasks

import (
	"errors"
	"net/http"
	"strconv"
	"time"
)

// Permanent declares that running the task again cannot help: it goes to the
// archive at once, whatever attempts it has left. Every other error is retried.
// Permanent(nil) is nil.
func Permanent(err error) error {
	if err == nil {
		return nil
	}
	return &permanentError{err}
}

// IsPermanent reports whether err, or one that it wraps, was declared Permanent.
func IsPermanent(err error) bool {
	var p *permanentError
	return errors.As(err, &p)
}

type permanentError struct{ error }

func (e *permanentError) Unwrap() error { return e.error }

// RetryAfter declares how long the other side asked to be left alone, as in an
// HTTP Retry-After header. The next attempt comes no sooner.
func RetryAfter(err error, wait time.Duration) error {
	if err == nil {
		return nil
	}
	return &retryAfterError{err, wait}
}

// RetryAfterOf returns the wait that err, or one that it wraps, was declared
// with by RetryAfter; zero when there is none.
func RetryAfterOf(err error) time.Duration {
	var r *retryAfterError
	if errors.As(err, &r) {
		return r.wait
	}
	return 0
}

// PutOff declares that the task was not tried, since it is not its turn: it is to run
// again after the wait, which counts as no attempt. A task's last attempt cannot be
// put off.
func PutOff(reason error, wait time.Duration) error {
	return &putOffError{reason, wait}
}

// PutOffOf returns the wait that err, or one that it wraps, was declared with by
// PutOff, and whether it was.
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

// maxRetryAfter keeps a mistaken header from putting work off for days, in which a
// link may die.
const maxRetryAfter = time.Hour

// ParseRetryAfter reads the value of a Retry-After header, seconds or a date (RFC
// 9110, section 10.2.3), up to an hour; zero when it asks for no wait or cannot be
// read.
func ParseRetryAfter(value string, now time.Time) time.Duration {
	var wait time.Duration
	if seconds, err := strconv.ParseUint(value, 10, 64); err == nil {
		wait = time.Duration(min(seconds, uint64(maxRetryAfter/time.Second))) * time.Second
	} else if at, err := http.ParseTime(value); err == nil {
		wait = at.Sub(now)
	}
	return min(max(wait, 0), maxRetryAfter)
}

type retryAfterError struct {
	error
	wait time.Duration
}

func (e *retryAfterError) Unwrap() error { return e.error }
