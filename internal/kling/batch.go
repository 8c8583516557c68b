package kling

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// BatchSize is how many jobs the new API looks up in one request.
const BatchSize = 20

// Jobs looks jobs of the new API up by Kling's ids, BatchSize in a request. The
// jobs come in no set order. When the error is nil, an id that no job has is one
// that Kling does not know. The jobs that were found come with an error too: an id
// that Kling refuses, or an object that cannot be read, does not cost the other ids
// their answer.
func (c *Client) Jobs(ctx context.Context, ids ...string) ([]Job, error) {
	return c.batches(ctx, byID, ids)
}

// JobsByExternalID is Jobs by the ids that the jobs' creator chose.
func (c *Client) JobsByExternalID(ctx context.Context, ids ...string) ([]Job, error) {
	return c.batches(ctx, byExternalID, ids)
}

// idForm is the parameter by which the new API looks up.
type idForm string

const (
	byID         idForm = "task_ids"
	byExternalID idForm = "external_task_ids"
)

func (form idForm) of(job Job) string {
	if form == byExternalID {
		return job.ExternalID
	}
	return job.ID
}

func (c *Client) batches(ctx context.Context, form idForm, ids []string) ([]Job, error) {
	b := batch{client: c, form: form}
	for ids := range slices.Chunk(b.askable(ids), BatchSize) {
		if err := b.ask(ctx, ids); err != nil {
			b.complaints = append(b.complaints, err)
			break // the next request would fare no better
		}
	}
	if err := errors.Join(b.complaints...); err != nil {
		return b.found, fmt.Errorf("look up %d jobs: %w", len(ids), err)
	}
	return b.found, nil
}

// batch collects the answers of one look-up of many jobs.
type batch struct {
	client *Client
	form   idForm
	found  []Job
	// complaints concern single ids or objects.
	complaints []error
}

// askable returns the ids that can be asked for, each once.
func (b *batch) askable(ids []string) []string {
	seen := make(map[string]bool, len(ids))
	var askable []string
	for _, id := range ids {
		err := checkID(id)
		if err == nil && strings.Contains(id, ",") {
			err = errors.New("an id with a comma, which stands between ids")
		}
		switch {
		case err != nil:
			b.complaints = append(b.complaints, fmt.Errorf("%w: %w", ErrInvalid, err))
		case !seen[id]:
			seen[id] = true
			askable = append(askable, id)
		}
	}
	return askable
}

// ask looks one batch up. One id that Kling refuses has it refuse the whole batch:
// the halves are asked for then, until that id stands alone. The error is one that
// other ids would meet as well.
func (b *batch) ask(ctx context.Context, ids []string) error {
	got, err := b.client.do(ctx, call{method: http.MethodGet, path: "/tasks", query: b.query(ids), apiKeyOnly: true})
	if err == nil {
		b.keep(got, ids)
		return nil
	}
	if !ofOneID(err) {
		return err
	}
	if half := len(ids) / 2; half > 0 {
		if err := b.ask(ctx, ids[:half]); err != nil {
			return err
		}
		return b.ask(ctx, ids[half:])
	}
	if !errors.Is(err, ErrNotFound) {
		b.complaints = append(b.complaints, fmt.Errorf("job %q: %w", ids[0], err))
	}
	return nil
}

// query writes the commas plainly, as Kling documents them.
func (b *batch) query(ids []string) string {
	escaped := make([]string, len(ids))
	for i, id := range ids {
		escaped[i] = url.QueryEscape(id)
	}
	return string(b.form) + "=" + strings.Join(escaped, ",")
}

// keep takes the jobs that were asked for.
func (b *batch) keep(got answer, ids []string) {
	jobs, err := got.jobs(KindTasks)
	if err != nil {
		b.complaints = append(b.complaints, err)
	}
	for _, job := range jobs {
		if !slices.Contains(ids, b.form.of(job)) {
			b.complaints = append(b.complaints, fmt.Errorf("%w: it has a job that was not asked for", ErrUnreadable))
			continue
		}
		b.found = append(b.found, job)
	}
}

// ofOneID reports whether a refusal may be about one of the ids, not about the call.
func ofOneID(err error) bool {
	var refused *APIError
	return errors.Is(err, ErrNotFound) || errors.As(err, &refused) && refused.cause() == badRequest
}

// newJob looks one job of the new API up.
func (c *Client) newJob(ctx context.Context, id string) (Job, error) {
	b := batch{client: c, form: byID}
	if ids := b.askable([]string{id}); len(ids) > 0 {
		if err := b.ask(ctx, ids); err != nil {
			return Job{}, err
		}
	}
	switch {
	case len(b.complaints) > 0:
		return Job{}, b.complaints[0]
	case len(b.found) == 0:
		return Job{}, ErrNotFound
	}
	return b.found[0], nil
}
