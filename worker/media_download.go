package worker

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/klinghook/klinghook/store"
	"github.com/klinghook/klinghook/tasks"
	"github.com/klinghook/klinghook/worker/media"
)

// downloadMedia brings a file of a job into the bucket from its newest link, and
// notes it in the store. It is in the bucket whole or not at all, so that running
// it twice costs a download and nothing else.
func (w *Worker) downloadMedia(ctx context.Context, payload []byte) error {
	m, err := w.medium(ctx, payload)
	if err != nil || m.State == store.MediaStored {
		return err
	}
	file, err := w.cfg.Fetcher.Download(ctx, m.URL, mediaKind(m.Name), w.cfg.Bucket, media.ObjectName(m.JobID, m.Name))
	if err != nil {
		return fmt.Errorf("download %s of %s: %w", m.Name, m.JobID, err)
	}
	m.Object, m.Size, m.SHA256, m.ContentType = file.Object, file.Size, file.SHA256, file.ContentType
	// When the job names another file by now, that link has a task of its own.
	_, err = w.cfg.Store.MediaStored(ctx, m, w.cfg.Now())
	return err
}

// giveUpMedia notes that a file will not be fetched from the link that it has.
func (w *Worker) giveUpMedia(ctx context.Context, payload []byte, reason string) error {
	m, err := w.medium(ctx, payload)
	if err != nil {
		return err
	}
	return w.cfg.Store.MediaFailed(ctx, m, reason, w.cfg.Now())
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
