package suite

import (
	"context"
	"fmt"
	"time"

	"github.com/klinghook/klinghook/bench/internal/media"
	"github.com/klinghook/klinghook/bench/internal/results"
	"github.com/klinghook/klinghook/bench/internal/rig"
)

// scalingAtOnce is how many files one worker fetches at once, as it does by default.
const scalingAtOnce = 4

// scaling measures how several workers share a backlog of downloads that wait for
// the network and cost little else.
func (s *Suite) scaling(ctx context.Context, r *results.Results) (err error) {
	sc := &results.Scaling{Stamp: s.stamp(), Files: s.Plan.ScalingFiles, DelayMs: ms(scalingDelay), AtOnce: scalingAtOnce}
	pg, err := s.Rig.StartPostgres(ctx)
	if err != nil {
		return err
	}
	defer stop(&err, pg)
	server, err := media.Start(ctx, scalingDelay)
	if err != nil {
		return err
	}
	defer func() { _ = server.Close() }() // nothing is in flight
	for _, workers := range s.Plan.Workers {
		took, err := s.share(ctx, pg, server, workers)
		if err != nil {
			return fmt.Errorf("%d workers: %w", workers, err)
		}
		s.say("  %d workers: %.2f s", workers, took.Seconds())
		sc.Rows = append(sc.Rows, results.ScalingRow{Workers: workers, Seconds: took.Seconds()})
	}
	r.Scaling = sc
	return nil
}

// share lets workers fetch the backlog and returns how long they took.
func (s *Suite) share(ctx context.Context, pg *rig.Postgres, server *media.Server, workers int) (took time.Duration, err error) {
	st, err := s.newStage(ctx, pg, rig.RedisConfig{})
	if err != nil {
		return 0, err
	}
	defer stop(&err, st)
	files := Files{Count: s.Plan.ScalingFiles, Size: scalingSize}
	if err := st.owe(ctx, server, files); err != nil {
		return 0, err
	}
	took, _, err = st.fetch(ctx, server, files, workers, scalingAtOnce)
	return took, err
}
