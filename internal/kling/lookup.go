package kling

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
)

// Job looks a job up by its id, or by the id that its creator chose, under the
// kinds in their order, until one knows it; without kinds, under all of Kinds. A
// Client without an API key leaves KindTasks out, unless it is the only one.
//
// [Job.Kind] says which kind knew it. To look up one of the new API by the id that
// its creator chose, use JobsByExternalID: its kind here takes Kling's id only.
//
// The error is ErrNotFound when no kind knows the job. A kind that the account may
// not use, or whose form of id this one has not, does not keep the others from
// being asked; any other error ends the search.
func (c *Client) Job(ctx context.Context, id string, kinds ...Kind) (Job, error) {
	if len(kinds) == 0 {
		kinds = Kinds()
	}
	if c.keys.apiKey == "" && len(kinds) > 1 {
		kinds = slices.DeleteFunc(slices.Clone(kinds), func(k Kind) bool { return k == KindTasks })
	}
	var missed error
	for _, kind := range kinds {
		job, err := c.jobOfKind(ctx, kind, id)
		if err == nil {
			return job, nil
		}
		if !elsewhere(err) {
			return Job{}, fmt.Errorf("look up job %q as %s: %w", id, kind, err)
		}
		missed = graver(missed, err)
	}
	return Job{}, fmt.Errorf("look up job %q: %w", id, missed)
}

func (c *Client) jobOfKind(ctx context.Context, kind Kind, id string) (Job, error) {
	if kind == KindTasks {
		return c.newJob(ctx, id)
	}
	path, err := kind.legacyPath()
	if err != nil {
		return Job{}, err
	}
	if err := checkID(id); err != nil {
		return Job{}, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	if id == "." || id == ".." {
		return Job{}, fmt.Errorf("%w: an id that is no part of a path", ErrInvalid)
	}
	got, err := c.do(ctx, call{method: http.MethodGet, path: path + "/" + url.PathEscape(id)})
	if err != nil {
		return Job{}, err
	}
	jobs, err := got.jobs(kind)
	switch {
	case err != nil:
		return Job{}, err
	case len(jobs) == 0:
		return Job{}, ErrNotFound
	case jobs[0].ID != id && jobs[0].ExternalID != id:
		return Job{}, fmt.Errorf("%w: it is of a job that was not asked for", ErrUnreadable)
	}
	return jobs[0], nil
}

// elsewhere reports whether a job that one kind did not give may be of another.
func elsewhere(err error) bool {
	if errors.Is(err, ErrNotFound) {
		return true
	}
	var refused *APIError
	return errors.As(err, &refused) && slices.Contains([]cause{missing, badRequest, forbidden}, refused.cause())
}

// graver returns which of two reasons not to have found a job tells more: that
// the account may not look there, else that Kling does not know it, else the first.
func graver(a, b error) error {
	rank := func(err error) int {
		var refused *APIError
		switch {
		case err == nil:
			return 0
		case errors.Is(err, ErrNotFound):
			return 2
		case errors.As(err, &refused) && refused.cause() == forbidden:
			return 3
		default:
			return 1
		}
	}
	if rank(b) > rank(a) {
		return b
	}
	return a
}
