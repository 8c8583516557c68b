package worker

import (
	"math/rand/v2"
	"time"

	"github.com/hibiken/asynq"

	"github.com/klinghook/klinghook/tasks"
)

// retryDelay is asynq's RetryDelayFunc: n is how often the task was retried so
// far, so 0 after the first attempt.
func retryDelay(n int, err error, t *asynq.Task) time.Duration {
	if wait, putOff := tasks.PutOffOf(err); putOff {
		return wait
	}
	p, policyErr := tasks.PolicyOf(tasks.Kind(t.Type()))
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
