package worker

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/hibiken/asynq"
	"go.opentelemetry.io/otel/attribute"

	"github.com/klinghook/klinghook/internal/store"
	"github.com/klinghook/klinghook/tasks"
	"github.com/klinghook/klinghook/worker/media"
)

// downloadMedia brings a file of a job into the bucket from the link that counts,
// and notes it in the store. Publishing and noting are one transaction, so that of
// two downloads at once the bucket and the row have the same one; and a file is
// published whole or not at all, so that running this twice costs a download and
// nothing else.
func (w *Worker) downloadMedia(ctx context.Context, payload []byte) error {
	m, err := w.medium(ctx, payload)
	if err != nil {
		return err
	}
	if isTaskOfGivenUp(ctx, m) {
		m.URL = m.GivenUp
	} else if m.State == store.MediaStored {
		return nil
	}
	err = w.fetch(ctx, m)
	if !w.mayRenew(err) {
		return err
	}
	fresh, same, renewErr := w.renewLink(ctx, m)
	switch {
	case renewErr != nil:
		// Kling may tell later: this attempt is not the last because of the link.
		return &linkError{m.URL, fmt.Errorf("%s; a fresh link was asked for: %w", err.Error(), renewErr)}
	case same && fresh.URL == m.URL:
		// It is no dead link, but ahead of its file.
		return &linkError{m.URL, errors.New(err.Error() + "; Kling gives the same link still")}
	case fresh.State != store.MediaPending || fresh.URL == m.URL:
		return err
	}
	if err = w.fetch(ctx, fresh); !w.mayRenew(err) {
		return err
	}
	// A link that has just been given may be ahead of its file. This task's attempts
	// are all that a file gets, however many links Kling has for it.
	return &linkError{fresh.URL, errors.New(err.Error() + "; Kling gave this link just now")}
}

// isTaskOfGivenUp reports whether the task at work is that of the newest link, which was
// given up: somebody has it run again, or its worker died before the queue knew. It tries
// that link once more, whatever an older one has come to: else it would count as done.
func isTaskOfGivenUp(ctx context.Context, m store.Media) bool {
	if m.GivenUp == "" {
		return false
	}
	own, err := tasks.DownloadMedia(m.JobID, m.Name, m.GivenUpTask)
	id, known := asynq.GetTaskID(ctx)
	return err == nil && known && id == own.ID
}

// fetch downloads a file from the link in m, publishes it and notes it.
func (w *Worker) fetch(ctx context.Context, m store.Media) error {
	err := w.traced(ctx, "download file", func(ctx context.Context) error {
		_, err := w.cfg.Fetcher.Download(ctx, media.Request{
			Link: m.URL, Kind: mediaKind(m.Name), Bucket: w.cfg.Bucket, Object: media.ObjectName(m.JobID, m.Name),
			Progress: w.downloading(m),
			Publish: func(ctx context.Context, file media.File, put func() error) error {
				return w.publish(ctx, m, file, put)
			},
		})
		return err
	}, attribute.String("klinghook.media", m.Name), attribute.String("server.address", hostOf(m.URL)))
	if err != nil {
		return &linkError{m.URL, fmt.Errorf("download %s of %s: %w", m.Name, m.JobID, err)}
	}
	return nil
}

// publish notes a whole file in the store and makes it the object, if it still counts.
func (w *Worker) publish(ctx context.Context, m store.Media, file media.File, put func() error) error {
	m.Object, m.Size, m.SHA256, m.ContentType = file.Object, file.Size, file.SHA256, file.ContentType
	return w.traced(ctx, "store file", func(ctx context.Context) error {
		// When another file counts by now, its link has a task of its own.
		_, err := w.cfg.Store.StoreMedia(ctx, m, w.cfg.Now(), put)
		return err
	}, attribute.Int64("klinghook.media.size", file.Size))
}

// hostOf returns the host of a link, of which no more may be told.
func hostOf(link string) string {
	u, err := url.Parse(link)
	if err != nil {
		return ""
	}
	return u.Hostname()
}

// linkError is why a link did not serve.
type linkError struct {
	link string
	error
}

func (e *linkError) Unwrap() error { return e.error }

// mediaTrouble notes why a file is not there yet.
func (w *Worker) mediaTrouble(ctx context.Context, payload []byte, reason error) error {
	p, err := tasks.DecodeMediaDownload(payload)
	if err != nil {
		return err
	}
	return w.cfg.Store.MediaTrouble(ctx, p.JobID, p.Name, reason.Error(), w.cfg.Now())
}

// giveUpMedia notes that a link is dead. Where the file has another, that one gets
// a task of its own.
func (w *Worker) giveUpMedia(ctx context.Context, payload []byte, reason error) error {
	m, err := w.medium(ctx, payload)
	if err != nil {
		return err
	}
	// The link that counts now may be another than the one that was tried.
	if tried := (*linkError)(nil); errors.As(reason, &tried) {
		m.URL = tried.link
	} else if m.State == store.MediaStored {
		return nil // nothing is left that could be given up
	}
	dead := m.URL
	if m, err = w.cfg.Store.MediaFailed(ctx, m, reason.Error(), w.cfg.Now()); err != nil || m.State != store.MediaPending {
		return err
	}
	// The id is another than that of the link's first task, which may be over.
	return w.enqueue(ctx)(tasks.DownloadMedia(m.JobID, m.Name, m.URL+"\n"+dead))
}

func aboutMedia(payload []byte) (jobID, eventID string) {
	p, _ := tasks.DecodeMediaDownload(payload) // what cannot be read is about nothing
	return p.JobID, ""
}

// medium reads the row of the file that a payload names.
func (w *Worker) medium(ctx context.Context, payload []byte) (store.Media, error) {
	p, err := tasks.DecodeMediaDownload(payload)
	if err != nil {
		return store.Media{}, err
	}
	m, err := w.cfg.Store.Medium(ctx, p.JobID, p.Name)
	if errors.Is(err, store.ErrNotFound) {
		err = tasks.Permanent(err)
	}
	return m, err
}

// mediaKind is what a file must turn out to be.
func mediaKind(name string) media.Kind {
	if strings.HasPrefix(name, tasks.MediaThumbnail) {
		return media.Image
	}
	return media.Video
}
