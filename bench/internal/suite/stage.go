package suite

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/klinghook/klinghook/bench/internal/load"
	"github.com/klinghook/klinghook/bench/internal/rig"
	"github.com/klinghook/klinghook/internal/source"
	"github.com/klinghook/klinghook/tasks"
)

// stage is an empty Redis and an empty, migrated database for workers to work on.
type stage struct {
	suite    *Suite
	rd       *rig.Redis
	pg       *rig.Postgres
	database string
}

// newStage makes a stage on a running PostgreSQL.
func (s *Suite) newStage(ctx context.Context, pg *rig.Postgres, cfg rig.RedisConfig) (*stage, error) {
	database, err := pg.NewDatabase(ctx)
	if err != nil {
		return nil, err
	}
	if err := s.Rig.Migrate(ctx, pg.URL(database)); err != nil {
		return nil, err
	}
	rd, err := s.Rig.StartRedis(ctx, cfg)
	if err != nil {
		return nil, err
	}
	return &stage{suite: s, rd: rd, pg: pg, database: database}, nil
}

// Stop ends the Redis and drops the database.
func (st *stage) Stop() error {
	return errors.Join(st.rd.Stop(), st.pg.Exec(context.Background(), "postgres", "DROP DATABASE "+st.database+" WITH (FORCE)"))
}

// worker starts a klinghook worker.
func (st *stage) worker(ctx context.Context, settings map[string]string) (*rig.Worker, error) {
	return st.suite.Rig.StartWorker(ctx, st.rd, st.pg.URL(st.database), settings)
}

// fillers is how many goroutines enqueue at once.
const fillers = 64

// fill enqueues n events as klinghook-ingest does. video, where it is set, returns
// the link of the i-th.
func (st *stage) fill(ctx context.Context, n int, video func(i int) string) error {
	client := redis.NewClient(&redis.Options{Addr: st.rd.Client.Options().Addr, PoolSize: fillers})
	defer func() { _ = client.Close() }() // nothing is in flight
	queue := tasks.NewClient(client)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var next atomic.Int64
	var wg sync.WaitGroup
	for range fillers {
		wg.Go(func() {
			for i := int(next.Add(1) - 1); i < n && ctx.Err() == nil; i = int(next.Add(1) - 1) {
				e := load.Event{Index: i, Size: bodySize}
				if video != nil {
					e.Video = video(i)
				}
				task, err := st.suite.task(e)
				if err == nil {
					_, err = queue.Enqueue(ctx, task)
				}
				if err != nil {
					cancel(fmt.Errorf("enqueue event %d: %w", i, err))
				}
			}
		})
	}
	wg.Wait()
	return context.Cause(ctx)
}

// task is what klinghook-ingest makes of a delivery.
func (s *Suite) task(e load.Event) (tasks.Task, error) {
	body := e.Body()
	const protocol = "klingai"
	return tasks.RecordEvent(tasks.Event{
		ID: tasks.EventID(protocol, "", body), Source: protocol, Type: e.Type(), JobID: e.JobID(),
		ReceivedAt: time.Now().UTC(), Secret: source.Fingerprint(s.Rig.Secret),
		Headers: map[string]string{"X-Kling-Signature": load.Signed(s.Rig.Secret, body).Get("X-Kling-Signature")}, Body: body,
	})
}

// recorded counts the events that are in the database for good.
func (st *stage) recorded(ctx context.Context) (int64, error) {
	return st.pg.Count(ctx, st.database, `SELECT count(*) FROM events WHERE processed_at IS NOT NULL`)
}
