package tasks

import (
	"errors"
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

type retryAfterError struct {
	error
	wait time.Duration
}

func (e *retryAfterError) Unwrap() error { return e.error }
