package worker

import (
	"context"
	"errors"
	"net/http"
	"slices"

	"github.com/klinghook/klinghook/internal/kling"
	"github.com/klinghook/klinghook/internal/store"
	"github.com/klinghook/klinghook/tasks"
	"github.com/klinghook/klinghook/worker/media"
)

// mayRenew reports whether a download failed in a way that a fresh link may mend.
func (w *Worker) mayRenew(err error) bool {
	var answered *media.StatusError
	return w.cfg.Lookups.Kling != nil && errors.As(err, &answered) &&
		slices.Contains([]int{http.StatusForbidden, http.StatusNotFound, http.StatusGone}, answered.Status)
}

// renewLink asks Kling for a job's links, takes the answer in as an event like any
// other, and returns the file with the link that counts then. same says that
// the answer has the file's own link still. A job that Kling does not know has no links.
func (w *Worker) renewLink(ctx context.Context, m store.Media) (fresh store.Media, same bool, err error) {
	api, err := w.cfg.Store.JobAPI(ctx, m.JobID)
	if err != nil {
		return m, false, err
	}
	job, err := w.cfg.Lookups.Kling.Job(ctx, m.JobID, KindsOf(api)...)
	switch {
	case errors.Is(err, kling.ErrNotFound), errors.Is(err, kling.ErrInvalid), errors.Is(err, kling.ErrNeedsAPIKey):
		return m, false, nil
	case err != nil:
		return m, false, tasks.RetryAfter(err, kling.WaitOf(err))
	}
	ev, err := LookupEvent(job, w.cfg.Now())
	if err != nil {
		return m, false, err
	}
	if err := w.record(ctx, ev, &m); err != nil {
		return m, false, err
	}
	same = slices.ContainsFunc(job.Outputs, func(o kling.Output) bool { return o.URL == m.URL })
	fresh, err = w.cfg.Store.Medium(ctx, m.JobID, m.Name)
	return fresh, same, err
}

// KindsOf returns where to ask Kling for a job of which the store has this as its
// API, as in [tasks.JobUpdate]; none means everywhere.
func KindsOf(api string) []kling.Kind {
	switch api {
	case "":
		return nil
	case tasks.APITasks:
		return []kling.Kind{kling.KindTasks}
	}
	return legacyKinds(api)
}
