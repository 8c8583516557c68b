package intake

import (
	"context"
	"time"

	"go.uber.org/zap"
)

// adoptInterval is how often it is looked for what processes that are gone have left
// in a shared spool's directory.
const adoptInterval = 30 * time.Second

// adopt takes over what they have left, until ctx ends.
func (in *Intake) adopt(ctx context.Context) {
	tick := time.NewTicker(adoptInterval)
	defer tick.Stop()
	for {
		n, err := in.spool.Adopt(ctx)
		if n > 0 {
			in.log.Info("took over events that another process left in its spool", zap.Int("events", n))
		}
		if err != nil && ctx.Err() == nil {
			in.log.Error("spools that other processes left cannot be taken over", zap.Error(err))
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}
