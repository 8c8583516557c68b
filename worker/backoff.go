package worker

import (
	"errors"
	"math/rand/v2"
	"time"

	"github.com/hibiken/asynq"

	"github.com/klinghook/klinghook/tasks"
)

// retryDelay implements [asynq.RetryDelayFunc]: n counts the earlier retries, so it is
// 0 after the first attempt. It returns the delay that was reported, if any.
func retryDelay(n int, err error, task *asynq.Task) time.Duration {
	var failed *attemptError
	if errors.As(err, &failed) {
		return failed.retryIn
	}
	return delay(tasks.Kind(task.Type()), n, err)
}

// delay returns a random wait after an error, for a task that was retried n times.
func delay(kind tasks.Kind, n int, err error) time.Duration {
	if wait, putOff := tasks.PutOffOf(err); putOff {
		return wait
	}
	policy, policyErr := tasks.PolicyOf(kind)
	if policyErr != nil {
		return time.Minute
	}
	return backoff(policy, n, tasks.RetryAfterOf(err))
}

// backoff is exponential with full jitter, on top of the wait that the other side asked
// for. The jitter is uniform from zero to a bound that doubles with each retry, up to
// the policy's cap.
func backoff(policy tasks.Policy, retries int, asked time.Duration) time.Duration {
	bound := policy.BackoffBase
	for range retries {
		if bound >= policy.BackoffCap {
			break
		}
		bound *= 2
	}
	return asked + rand.N(min(bound, policy.BackoffCap)+1)
}

// isFailure implements asynq's IsFailure: a task that was put off costs no attempt.
func isFailure(err error) bool {
	_, putOff := tasks.PutOffOf(err)
	return err != nil && !putOff
}
