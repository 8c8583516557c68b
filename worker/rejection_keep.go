package worker

import (
	"context"

	"github.com/klinghook/klinghook/tasks"
)

// keepRejection keeps a delivery that ingest refused, as a sample.
func (w *Worker) keepRejection(ctx context.Context, payload []byte) error {
	rejection, err := tasks.DecodeRejection(payload)
	if err != nil {
		return err
	}
	return w.cfg.Store.KeepRejection(ctx, rejection)
}
