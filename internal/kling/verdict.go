package kling

import (
	"errors"
	"slices"
	"time"
)

// Verdict is what to do about an error.
type Verdict string

// The verdicts.
const (
	// Retry: the same call may succeed later. How much later is the caller's
	// backoff's to say.
	Retry Verdict = "retry"
	// Wait: the same call may succeed, but not before WaitOf the error.
	Wait Verdict = "wait"
	// GiveUp: the same call cannot succeed until somebody changes something.
	GiveUp Verdict = "give up"
)

// VerdictOf says what to do about an error that a call returned. What is not known
// to be hopeless may be tried again, a network's trouble and an answer that cannot
// be read among it. A joined error of several look-ups is as good as its first.
//
// A worker's handler turns GiveUp into tasks.Permanent, and Wait into
// tasks.RetryAfter with WaitOf.
func VerdictOf(err error) Verdict {
	var refused *APIError
	switch {
	case WaitOf(err) > 0:
		return Wait
	case errors.As(err, &refused):
		if refused.Retryable() {
			return Retry
		}
		return GiveUp
	case errors.Is(err, ErrNotFound), errors.Is(err, ErrInvalid), errors.Is(err, ErrNeedsAPIKey):
		return GiveUp
	default:
		return Retry
	}
}

// WaitOf returns how long to leave Kling alone at the least after an error that a
// call returned; 0 where nobody said.
func WaitOf(err error) time.Duration {
	var early *WaitError
	if errors.As(err, &early) {
		return early.For
	}
	var refused *APIError
	if errors.As(err, &refused) {
		return refused.Wait()
	}
	return 0
}

// AboutJobs reports whether an error of a look-up is about nothing but the jobs that
// were asked for: ids that Kling refuses or does not know, answers that cannot be
// read. Other jobs may fare better. It is false for nil.
func AboutJobs(err error) bool {
	var several interface{ Unwrap() []error }
	var refused *APIError
	switch {
	case errors.As(err, &several):
		// Either a mark and its detail, or the errors of several jobs.
		list := several.Unwrap()
		return slices.Contains(list, ErrInvalid) || slices.Contains(list, ErrUnreadable) ||
			!slices.ContainsFunc(list, func(err error) bool { return !AboutJobs(err) })
	case errors.As(err, &refused):
		return elsewhere(refused)
	}
	return errors.Is(err, ErrNotFound) || errors.Is(err, ErrInvalid) || errors.Is(err, ErrUnreadable)
}
