package worker

import (
	"context"

	"go.uber.org/zap"
)

// tidyBucket removes what killed processes have left in the bucket. Each download
// does so for its own object; this is for objects that nothing downloads again.
func (w *Worker) tidyBucket(ctx context.Context) {
	n, err := w.cfg.Bucket.RemoveLeftovers(ctx)
	if n > 0 {
		w.cfg.Log.Info("what killed downloads had left was removed", zap.Int("files", n))
	}
	if err != nil && ctx.Err() == nil {
		w.cfg.Log.Warn("bucket not tidied", zap.Error(err))
	}
}
