package dashboard

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"go.uber.org/zap"

	"github.com/klinghook/klinghook/internal/store"
	"github.com/klinghook/klinghook/tasks"
)

// Problem is why something cannot be shown or done. Detail is for people and says what to
// do; Status is the HTTP status. Location is the invalid parameter or field, if there is one.
type Problem struct {
	Status   int
	Detail   string
	Location string
}

// Error implements error.
func (p *Problem) Error() string { return p.Detail }

func problemf(status int, format string, args ...any) *Problem {
	return &Problem{Status: status, Detail: fmt.Sprintf(format, args...)}
}

// invalid returns the problem of an invalid parameter or field, such as query.cursor.
func invalid(location, format string, args ...any) *Problem {
	return &Problem{http.StatusUnprocessableEntity, fmt.Sprintf(format, args...), location}
}

// details returns the parameter or field with the problem, if any, as the API lists it.
func (p *Problem) details() []error {
	if p.Location == "" {
		return nil
	}
	return []error{&huma.ErrorDetail{Location: p.Location, Message: p.Detail}}
}

// problemOf returns the problem to show for an error. It logs errors that the user cannot
// fix, and hides their text.
func (d *dashboard) problemOf(err error) *Problem {
	var problem *Problem
	switch {
	case errors.As(err, &problem):
		return problem
	case errors.Is(err, store.ErrNotFound):
		return problemf(http.StatusNotFound, "there is no such job")
	case errors.Is(err, tasks.ErrErased):
		return problemf(http.StatusGone, "the job was deleted")
	case errors.Is(err, context.Canceled): // the client has gone
	default:
		d.cfg.Log.Error("request not served", zap.Error(err))
	}
	return problemf(http.StatusServiceUnavailable, "the database, Redis or the bucket did not answer; try again, and see the log of klinghook admin")
}

// refresh asks the workers to look up a job at Kling.
func (d *dashboard) refresh(ctx context.Context, job tasks.JobKey) error {
	on, err := tasks.LookupsOn(ctx, d.cfg.Redis)
	if err == nil && !on {
		err = problemf(http.StatusConflict, "no worker has asked Kling within a day: look-ups need KLINGAI_API_KEY in the settings of a worker")
	}
	if err == nil {
		err = d.checkJob(ctx, job)
	}
	if err != nil {
		return err
	}
	return d.cfg.Store.RequestLookup(ctx, job, time.Now())
}

// checkJob returns an error unless the job has a row.
func (d *dashboard) checkJob(ctx context.Context, job tasks.JobKey) error {
	_, err := d.cfg.Store.JobAPI(ctx, job)
	return err
}

// download downloads the files of a job again, or only the named one, and returns how
// many.
func (d *dashboard) download(ctx context.Context, job tasks.JobKey, name string) (int, error) {
	if err := d.checkJob(ctx, job); err != nil {
		return 0, err
	}
	n, err := d.cfg.Worker.Download(ctx, job, name)
	if err == nil && n == 0 {
		err = problemf(http.StatusConflict, "the job has no such file; refresh asks Kling for its files")
	}
	return n, err
}

// notify sends notifications of a job's state again and returns how many.
func (d *dashboard) notify(ctx context.Context, job tasks.JobKey, destinations []string) (int, error) {
	for _, name := range destinations {
		_, err := d.cfg.Store.Destination(ctx, name)
		if errors.Is(err, store.ErrNotFound) {
			err = invalid("query.destination", "there is no destination %q; `klinghook destinations list` lists them", name)
		}
		if err != nil {
			return 0, err
		}
	}
	n, err := d.cfg.Worker.Notify(ctx, job, destinations)
	switch {
	case err != nil || n > 0:
	case len(destinations) > 0:
		err = problemf(http.StatusConflict, "the notification is still pending")
	default:
		err = problemf(http.StatusConflict, "no destination was notified of this state, or its notification is still pending; name a destination")
	}
	return n, err
}

// erase deletes a job with everything that belongs to it.
func (d *dashboard) erase(ctx context.Context, job tasks.JobKey) error {
	found, err := d.cfg.Store.HasTraces(ctx, job)
	if err == nil && !found {
		err = store.ErrNotFound
	}
	if err != nil {
		return err
	}
	if err := d.cfg.Erase(ctx, job); err != nil {
		d.cfg.Log.Error("job not deleted completely", zap.Stringer("job_id", job), zap.Error(err))
		return problemf(http.StatusServiceUnavailable, "the job is not deleted completely yet; a worker deletes the rest within a minute")
	}
	return nil
}

// letterAction is an action on dead letters.
type letterAction string

const (
	replayLetters  letterAction = "replay"
	discardLetters letterAction = "discard"
)

// endedLetters is the result of a page of dead letters.
type endedLetters struct {
	Ended  int
	Failed []letterFailure
	// After is the id after which to continue; 0 if there are no more.
	After int64
}

// letterFailure is why a dead letter was not replayed or discarded.
type letterFailure struct {
	ID    int64  `json:"id" doc:"The dead letter's id."`
	Error string `json:"error" doc:"Why it was not replayed or discarded."`
}

// endLetters replays or discards one page of the selected dead letters: at most
// filter.Limit, in order of their ids. A failure does not stop the others, unless Redis is
// away: all would fail.
func (d *dashboard) endLetters(ctx context.Context, action letterAction, filter store.DeadLetterFilter) (result endedLetters, err error) {
	filter.Outline = true
	outlines, err := d.cfg.Store.DeadLetters(ctx, filter)
	if err != nil {
		return result, err
	}
	for _, outline := range outlines {
		if ctx.Err() != nil {
			return result, ctx.Err()
		}
		ended, err := d.endLetter(ctx, action, outline.ID)
		switch {
		case err != nil && d.cfg.Redis.Ping(ctx).Err() != nil:
			return result, err
		case err != nil:
			result.Failed = append(result.Failed, letterFailure{outline.ID, withoutLinkSecrets(err.Error())})
		case ended:
			result.Ended++
		}
	}
	if len(outlines) == filter.Limit {
		result.After = outlines[len(outlines)-1].ID
	}
	return result, nil
}

// endLetter replays or discards one dead letter.
func (d *dashboard) endLetter(ctx context.Context, action letterAction, id int64) (ended bool, err error) {
	if action == discardLetters {
		return d.cfg.Worker.Discard(ctx, id)
	}
	return d.cfg.Worker.Replay(ctx, id)
}
