package kling

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/klinghook/klinghook/internal/source"
)

// BatchSize is how many jobs the new API looks up in one request.
const BatchSize = 20

// Job looks up a job by its id, or by the id that its creator chose. It asks the
// kinds in order until one knows the job; without kinds, all of Kinds. An API
// without an API key skips KindTasks, unless it is the only kind. KindTasks knows
// jobs by Kling's id only.
//
// The error is ErrNotFound if no kind knows the job. The search goes on after a kind
// that the account may not use or that does not accept the id; any other error ends it.
func (c *API) Job(ctx context.Context, id string, kinds ...JobKind) (Answer, error) {
	if len(kinds) == 0 {
		kinds = Kinds()
	}
	if c.keys.apiKey == "" && len(kinds) > 1 {
		kinds = slices.DeleteFunc(slices.Clone(kinds), func(k JobKind) bool { return k == KindTasks })
	}
	var reason error
	for _, kind := range kinds {
		job, err := c.jobOfKind(ctx, kind, id)
		if err == nil {
			return job, nil
		}
		if !aboutOneJob(err) {
			return Answer{}, fmt.Errorf("look up job %q as %s: %w", quote(id), kind, err)
		}
		if reason == nil || rank(err) > rank(reason) {
			reason = err
		}
	}
	return Answer{}, fmt.Errorf("look up job %q: %w", quote(id), reason)
}

// rank orders the reasons for not finding a job: a kind that the account may not use
// could still have it, and ErrNotFound says more than a bad request.
func rank(err error) int {
	var refused *APIError
	switch {
	case errors.As(err, &refused) && refused.cause() == forbidden:
		return 2
	case errors.Is(err, ErrNotFound):
		return 1
	}
	return 0
}

func (c *API) jobOfKind(ctx context.Context, kind JobKind, id string) (Answer, error) {
	if err := checkID(kind, id); err != nil {
		return Answer{}, err
	}
	var jobs []Answer
	var err error
	if kind == KindTasks {
		var problems []error
		jobs, err = c.batch(ctx, []string{id}, &problems)
		err = errors.Join(append(problems, err)...)
	} else {
		jobs, err = c.legacyJob(ctx, kind, id)
	}
	switch {
	case err != nil:
		return Answer{}, err
	case len(jobs) == 0:
		return Answer{}, ErrNotFound
	case jobs[0].ID != id && jobs[0].ExternalID != id:
		return Answer{}, errAnotherJob
	}
	return jobs[0], nil
}

var errAnotherJob = fmt.Errorf("%w: it has a job that was not requested", ErrUnreadable)

func (c *API) legacyJob(ctx context.Context, kind JobKind, id string) ([]Answer, error) {
	path, err := kind.legacyPath()
	if err != nil {
		return nil, err
	}
	data, err := c.do(ctx, call{method: http.MethodGet, path: path + "/" + url.PathEscape(id)})
	if err != nil {
		return nil, err
	}
	return readJobs(kind, data)
}

// checkID refuses ids that cannot stand in a path or, for the new API, in a list.
func checkID(kind JobKind, id string) error {
	err := source.CheckJobID(id)
	if err == nil && (id == "." || id == ".." || kind == KindTasks && strings.Contains(id, ",")) {
		err = fmt.Errorf("%q is not an id", id)
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return nil
}

// Jobs looks up jobs of the new API by Kling's ids, BatchSize in a request, in no
// particular order. If the error is nil, Kling does not know the ids that are
// missing. Otherwise the jobs that were found come with the error: one id that Kling
// refuses, or one unreadable object, does not hide the others.
func (c *API) Jobs(ctx context.Context, ids ...string) ([]Answer, error) {
	var found []Answer
	var problems []error
	var valid []string
	for _, id := range ids {
		if err := checkID(KindTasks, id); err != nil {
			problems = append(problems, err)
		} else if !slices.Contains(valid, id) {
			valid = append(valid, id)
		}
	}
	for ids := range slices.Chunk(valid, BatchSize) {
		jobs, err := c.batch(ctx, ids, &problems)
		for _, job := range jobs {
			if slices.Contains(ids, job.ID) {
				found = append(found, job)
			} else {
				problems = append(problems, errAnotherJob)
			}
		}
		if err != nil {
			problems = append(problems, err)
			break // the next request would fail too
		}
	}
	if err := errors.Join(problems...); err != nil {
		return found, fmt.Errorf("look up %d jobs: %w", len(ids), err)
	}
	return found, nil
}

// batch asks the new API for at most BatchSize jobs. Kling refuses a whole batch for one
// bad id, so batch retries a refused batch in halves until that id is alone. It appends
// errors about single jobs to problems and returns any other.
func (c *API) batch(ctx context.Context, ids []string, problems *[]error) ([]Answer, error) {
	escaped := make([]string, len(ids))
	for i, id := range ids {
		escaped[i] = url.QueryEscape(id)
	}
	query := "task_ids=" + strings.Join(escaped, ",") // Kling documents plain commas
	data, err := c.do(ctx, call{method: http.MethodGet, path: "/tasks", query: query, apiKeyOnly: true})
	var refused *APIError
	switch {
	case err == nil:
		jobs, err := readJobs(KindTasks, data)
		if err != nil {
			*problems = append(*problems, err)
		}
		return jobs, nil
	case !errors.Is(err, ErrNotFound) && (!errors.As(err, &refused) || refused.cause() != badRequest):
		return nil, err
	case len(ids) == 1:
		if !errors.Is(err, ErrNotFound) {
			*problems = append(*problems, fmt.Errorf("job %q: %w", ids[0], err))
		}
		return nil, nil
	}
	first, err := c.batch(ctx, ids[:len(ids)/2], problems)
	if err != nil {
		return first, err
	}
	second, err := c.batch(ctx, ids[len(ids)/2:], problems)
	return append(first, second...), err
}
