package suite

import (
	"context"
	"fmt"
	"time"

	"github.com/klinghook/klinghook/bench/internal/load"
	"github.com/klinghook/klinghook/bench/internal/results"
	"github.com/klinghook/klinghook/bench/internal/rig"
)

// memoryBudget is, in bytes, how much of each size of body is put into Redis.
const memoryBudget = 96 * mib

// memory measures what an event costs Redis, while it waits and after it was done.
func (s *Suite) memory(ctx context.Context, r *results.Results) (err error) {
	m := &results.Memory{Stamp: s.stamp()}
	pg, err := s.Rig.StartPostgres(ctx)
	if err != nil {
		return err
	}
	defer stop(&err, pg)
	for _, size := range s.Plan.BodySizes {
		row := results.MemoryRow{BodySize: size, Events: min(s.Plan.Backlog/2, memoryBudget/size)}
		if err := s.memoryOf(ctx, pg, &row); err != nil {
			return fmt.Errorf("bodies of %d bytes: %w", size, err)
		}
		s.say("  %6d bytes: %.0f pending, %.0f retained, of each of %d events", size, row.Pending, row.Retained, row.Events)
		m.Rows = append(m.Rows, row)
	}
	r.Memory = m
	return nil
}

// memoryOf fills in a row.
func (s *Suite) memoryOf(ctx context.Context, pg *rig.Postgres, row *results.MemoryRow) (err error) {
	st, err := s.newStage(ctx, pg, rig.RedisConfig{})
	if err != nil {
		return err
	}
	defer stop(&err, st)
	rec, err := s.Rig.StartReceiver(ctx, rig.Klinghook, st.rd, bodyLimit(row.BodySize))
	if err != nil {
		return err
	}
	defer stop(&err, rec)
	requests, err := s.requests(row.BodySize)
	if err != nil {
		return err
	}
	row.Events = min(row.Events, requests.Count)
	empty, err := settledMemory(ctx, st.rd)
	if err != nil {
		return err
	}
	const atOnce = 8 // few connections, whose buffers count as memory too
	if err := load.SendAll(ctx, rec.URL, load.Span{Requests: requests, N: row.Events}, atOnce); err != nil {
		return err
	}
	pending, err := settledMemory(ctx, st.rd)
	if err != nil {
		return err
	}
	w, err := st.worker(ctx, nil)
	if err != nil {
		return err
	}
	all, err := until(ctx, 50*time.Millisecond, 2*s.Plan.DrainLimit, func(ctx context.Context) (bool, error) {
		b, err := st.rd.Backlog(ctx, "events")
		return b.Waiting == 0, err
	})
	if stop(&err, w); err != nil {
		return err
	}
	if !all {
		return fmt.Errorf("the worker has not done %d events in %s", row.Events, 2*s.Plan.DrainLimit)
	}
	retained, err := settledMemory(ctx, st.rd)
	if err != nil {
		return err
	}
	row.Pending, row.Retained = float64(pending-empty)/float64(row.Events), float64(retained-empty)/float64(row.Events)
	return nil
}

// settledMemory is Redis's memory after it has had the time to let go of buffers.
func settledMemory(ctx context.Context, rd *rig.Redis) (int64, error) {
	if err := pause(ctx, 2*time.Second); err != nil {
		return 0, err
	}
	return rd.Memory(ctx)
}
