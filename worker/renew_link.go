package worker

import (
	"context"
	"errors"
	"net/http"
	"slices"

	"github.com/klinghook/klinghook/internal/kling"
	"github.com/klinghook/klinghook/internal/source"
	"github.com/klinghook/klinghook/internal/store"
	"github.com/klinghook/klinghook/tasks"
	"github.com/klinghook/klinghook/worker/media"
)

// mayRenew reports whether a file's download failed in a way that a fresh link from Kling
// may fix.
func (w *Worker) mayRenew(file store.Media, err error) bool {
	var answered *media.StatusError
	refused := []int{http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusGone}
	dead := errors.As(err, &answered) && slices.Contains(refused, answered.Status)
	return w.cfg.Lookups.Kling != nil && file.Job.Platform == tasks.PlatformKling && (dead || errors.Is(err, media.ErrMalformedLink))
}

// renewLink asks Kling for a job, records the answer as an event, and returns the file
// with its current link. same reports that Kling still gives the file's old link. For a
// job that Kling does not know it returns the file unchanged.
func (w *Worker) renewLink(ctx context.Context, file store.Media) (fresh store.Media, same bool, err error) {
	api, err := w.cfg.Store.JobAPI(ctx, file.Job)
	if err != nil {
		return file, false, err
	}
	asked := w.cfg.Now()
	job, err := w.cfg.Lookups.Kling.Job(ctx, file.Job.ID, KindsOf(api)...)
	answer := store.LookupAnswer{At: asked, Took: w.cfg.Now().Sub(asked), Outcome: lookupFound}
	unknown := errors.Is(err, kling.ErrNotFound) || errors.Is(err, kling.ErrInvalid) || errors.Is(err, kling.ErrNeedsAPIKey)
	switch {
	case unknown:
		answer.Outcome = lookupUnknown
	case err != nil:
		answer.Outcome, answer.Error = lookupFailed, err.Error()
	}
	if noteErr := w.cfg.Store.RecordAnswer(ctx, file.Job, answer); noteErr != nil {
		return file, false, noteErr
	}
	switch {
	case unknown:
		return file, false, nil
	case err != nil:
		return file, false, tasks.RetryAfter(err, kling.WaitOf(err))
	}
	event, err := LookupEvent(job, w.cfg.Now())
	if err != nil {
		return file, false, err
	}
	if err := w.record(ctx, event, &file); err != nil {
		return file, false, err
	}
	same = slices.ContainsFunc(source.Links(job.Outputs), func(l tasks.MediaLink) bool { return l.URL == file.URL })
	fresh, err = w.cfg.Store.Medium(ctx, file.Job, file.Name)
	return fresh, same, err
}

// KindsOf returns the kinds to ask Kling for when a job has this API, as in
// [tasks.JobUpdate]; none means all.
func KindsOf(api string) []kling.JobKind {
	switch api {
	case "":
		return nil
	case tasks.APITasks:
		return []kling.JobKind{kling.KindTasks}
	}
	return legacyKinds(api)
}
