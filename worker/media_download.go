package worker

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"time"

	"github.com/hibiken/asynq"
	"go.opentelemetry.io/otel/attribute"
	"go.uber.org/zap"

	"github.com/klinghook/klinghook/internal/store"
	"github.com/klinghook/klinghook/tasks"
	"github.com/klinghook/klinghook/worker/media"
)

// downloadMedia copies a job's file from its current link to the bucket and marks it as
// stored. A file is published whole or not at all, so a second run costs only a download.
func (w *Worker) downloadMedia(ctx context.Context, payload []byte) error {
	file, err := w.medium(ctx, payload)
	if err != nil {
		return err
	}
	if file.State == store.MediaDeleted {
		return nil
	}
	if isTaskOfGivenUp(ctx, file) {
		file.URL = file.GivenUp
	} else if file.State == store.MediaStored {
		return nil
	}
	start := w.cfg.Now()
	err = w.fetch(ctx, file)
	if !w.mayRenew(file, err) {
		return err
	}
	first := store.TaskAttempt{At: start, Duration: w.cfg.Now().Sub(start), Error: err.Error()}
	fresh, same, renewErr := w.renewLink(ctx, file)
	switch {
	case renewErr != nil:
		// Kling may answer later, so this error is not permanent.
		return &linkError{file.URL, fmt.Errorf("%s; got no fresh link from Kling: %w", err.Error(), renewErr)}
	case same && fresh.URL == file.URL:
		// The link is valid, but its file is not there yet.
		return &linkError{file.URL, errors.New(err.Error() + "; Kling still gives the same link")}
	case fresh.State == store.MediaStored && fresh.GivenUp == "":
		return nil // another task stored it from a newer link meanwhile
	case fresh.State != store.MediaPending || fresh.URL == file.URL:
		return err
	}
	if err = w.fetch(ctx, fresh); err == nil {
		w.noteDownload(ctx, first) // else the page would show only that the second link worked
	}
	if !w.mayRenew(fresh, err) {
		return err
	}
	// The file of a fresh link may not be there yet. All fresh links of a file share this
	// task's attempts.
	return &linkError{fresh.URL, errors.New(err.Error() + "; Kling gave this link just now")}
}

// isTaskOfGivenUp reports whether this is the task of the newest link and that link was
// given up: an operator reran the task, or its worker died before asynq archived it. The
// task must try the link again even if the file is stored from an older one.
func isTaskOfGivenUp(ctx context.Context, file store.Media) bool {
	if file.GivenUp == "" {
		return false
	}
	own, err := tasks.DownloadMedia(file.Job, file.Name, file.GivenUpTask)
	return err == nil && workID(ctx) == own.ID
}

// fetch downloads a file from the link in m, publishes it and notes it in the store.
func (w *Worker) fetch(ctx context.Context, m store.Media) error {
	start := w.cfg.Now()
	err := w.traced(ctx, "download file", func(ctx context.Context) error {
		file, err := w.cfg.Fetcher.Download(ctx, media.Request{
			Link: m.URL, Kind: tasks.KindOfMedia(m.Name), Bucket: w.cfg.Bucket, Object: media.ObjectName(m.Job, m.Name),
			Progress: w.downloading(m),
		})
		if err != nil {
			return err
		}
		defer file.Discard()
		if err := w.publish(ctx, m, file, start); err != nil {
			return err
		}
		if m.Object != "" && m.Object != file.Object {
			w.deleteObjects(ctx) // the old one, of another type
		}
		return nil
	}, attribute.String("klinghook.media", m.Name), attribute.String("server.address", hostOf(m.URL)))
	if err != nil {
		return &linkError{m.URL, fmt.Errorf("download %s of %s: %w", m.Name, m.Job, err)}
	}
	return nil
}

// publish publishes a complete file and marks it as stored, if its link is still current.
// start is when its download began.
func (w *Worker) publish(ctx context.Context, m store.Media, file *media.File, start time.Time) error {
	m.Object, m.Size, m.SHA256, m.ContentType = file.Object, file.Size, file.SHA256, file.ContentType
	return w.traced(ctx, "store file", func(ctx context.Context) error {
		// If a newer link came meanwhile, it has its own task.
		superseded, err := w.cfg.Store.StoreMedia(ctx, m, w.cfg.Now(), file.Publish)
		if err == nil && !superseded {
			w.noteDownload(ctx, store.TaskAttempt{At: start, Duration: w.cfg.Now().Sub(start), Size: file.Size})
		}
		if errors.Is(err, store.ErrNotFound) { // its job was deleted meanwhile
			err = errors.Join(err, w.cfg.Bucket.Remove(context.WithoutCancel(ctx), m.Object))
		}
		return err
	}, attribute.Int64("klinghook.media.size", file.Size))
}

// noteDownload records a download from a link, of the task that runs.
func (w *Worker) noteDownload(ctx context.Context, attempt store.TaskAttempt) {
	retried, _ := asynq.GetRetryCount(ctx)
	attempt.TaskID, attempt.Number = workID(ctx), retried+1
	if err := w.cfg.Store.RecordAttempt(ctx, attempt); err != nil { // the file is stored all the same
		w.cfg.Log.Debug("download not recorded", zap.String("task_id", attempt.TaskID), zap.Error(err))
	}
}

// hostOf returns the host of a link: the rest is a secret.
func hostOf(link string) string {
	u, err := url.Parse(link)
	if err != nil {
		return ""
	}
	return u.Hostname()
}

// linkError is the error of a download from a link.
type linkError struct {
	link string
	error
}

func (e *linkError) Unwrap() error { return e.error }

// noteMediaFailure notes why a file is not stored yet.
func (w *Worker) noteMediaFailure(ctx context.Context, payload []byte, reason error) error {
	p, err := tasks.DecodeMediaDownload(payload)
	if err != nil {
		return err
	}
	return w.cfg.Store.SetMediaError(ctx, p.Job, p.Name, reason.Error(), w.cfg.Now())
}

// giveUpMedia notes that a link is dead. If the file has another link, it enqueues a
// task for the other link.
func (w *Worker) giveUpMedia(ctx context.Context, payload []byte, reason error) error {
	file, err := w.medium(ctx, payload)
	if err != nil {
		return err
	}
	// The current link may not be the one that was tried.
	if tried := (*linkError)(nil); errors.As(reason, &tried) {
		file.URL = tried.link
	} else if file.State == store.MediaStored {
		return nil // there is nothing to give up
	}
	dead := file.URL
	if file, err = w.cfg.Store.MediaFailed(ctx, file, reason.Error(), w.cfg.Now()); err != nil || file.State != store.MediaPending {
		return err
	}
	// The ID differs from the ID of the link's first task, which may have ended.
	return w.enqueue(ctx)(tasks.DownloadMedia(file.Job, file.Name, file.URL+"\n"+dead))
}

func aboutMedia(payload []byte) (job tasks.JobKey, eventID string) {
	p, _ := tasks.DecodeMediaDownload(payload) // an unreadable payload is about nothing
	return p.Job, ""
}

// medium returns the row of the file that a payload names. A missing row is not a
// permanent error: a database server may lag behind another one.
func (w *Worker) medium(ctx context.Context, payload []byte) (store.Media, error) {
	p, err := tasks.DecodeMediaDownload(payload)
	if err != nil {
		return store.Media{}, err
	}
	return w.cfg.Store.Medium(ctx, p.Job, p.Name)
}

// tidyEvery is how often leftovers in the bucket are removed.
const tidyEvery = time.Hour

// tidyBucket removes the leftovers of killed downloads from the bucket, at once and then
// every tidyEvery, until ctx ends.
func (w *Worker) tidyBucket(ctx context.Context) {
	tick := time.NewTicker(tidyEvery)
	defer tick.Stop()
	for {
		n, err := w.cfg.Bucket.RemoveLeftovers(ctx)
		if n > 0 {
			w.cfg.Log.Info("temporary files of killed downloads removed", zap.Int("files", n))
		}
		if err != nil && ctx.Err() == nil {
			w.cfg.Log.Warn("bucket clean-up failed", zap.Error(err))
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}
