package worker

import (
	"errors"
	"math/rand/v2"
	"time"

	"github.com/hibiken/asynq"

	"github.com/klinghook/klinghook/tasks"
)

// retryDelay is asynq's RetryDelayFunc: n is how often the task was retried so
// far, so 0 after the first attempt.
func retryDelay(n int, err error, t *asynq.Task) time.Duration {
	var drawn *retryError
	if errors.As(err, &drawn) {
		return drawn.wait
	}
	return delay(tasks.Kind(t.Type()), n, err)
}

// retryError is an error with the wait that was drawn before the next attempt, so
// that it can be told what asynq will do.
type retryError struct {
	error
	wait time.Duration
}

func (e *retryError) Unwrap() error { return e.error }

// delay is how long a task of a kind that was retried n times waits after an error.
func delay(kind tasks.Kind, n int, err error) time.Duration {
	if wait, putOff := tasks.PutOffOf(err); putOff {
		return wait
	}
	p, policyErr := tasks.PolicyOf(kind)
	if policyErr != nil {
		return time.Minute
	}
	return backoff(p, n, tasks.RetryAfterOf(err))
}

// backoff is exponential with full jitter, on top of what the other side asked
// for: the wait is drawn evenly from zero to the policy's bound, which doubles
// with each retry up to its cap.
func backoff(p tasks.Policy, retries int, asked time.Duration) time.Duration {
	bound := p.BackoffBase
	for range retries {
		if bound >= p.BackoffCap {
			break
		}
		bound *= 2
	}
	return asked + rand.N(min(bound, p.BackoffCap)+1)
}

// isFailure is asynq's IsFailure: a task that was put off has cost no attempt.
func isFailure(err error) bool {
	_, putOff := tasks.PutOffOf(err)
	return err != nil && !putOff
}
