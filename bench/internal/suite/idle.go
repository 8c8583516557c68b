package suite

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/klinghook/klinghook/bench/internal/load"
	"github.com/klinghook/klinghook/bench/internal/results"
	"github.com/klinghook/klinghook/bench/internal/rig"
	"github.com/klinghook/klinghook/bench/internal/stats"
)

// idle measures a system with nothing to do: how soon a lone delivery becomes a row,
// and what a worker asks of Redis meanwhile.
func (s *Suite) idle(ctx context.Context, r *results.Results) (err error) {
	in := &results.Idle{Stamp: s.stamp(), PickUps: s.Plan.PickUps, Seconds: s.Plan.IdleWatch.Seconds()}
	pg, err := s.Rig.StartPostgres(ctx)
	if err != nil {
		return err
	}
	defer stop(&err, pg)
	st, err := s.newStage(ctx, pg, rig.RedisConfig{})
	if err != nil {
		return err
	}
	defer stop(&err, st)
	w, err := st.worker(ctx, nil)
	if err != nil {
		return err
	}
	defer stop(&err, w)
	// What it does once, after its start, is over soon.
	if err := pause(ctx, 2*time.Second); err != nil {
		return err
	}
	if in.Commands, err = st.rd.Commands(ctx, s.Plan.IdleWatch); err != nil {
		return err
	}
	used, err := rig.UsageOf(w.PID())
	if err != nil {
		return err
	}
	in.WorkerMiB = float64(used.RSS) / mib
	latencies, err := s.pickUps(ctx, st)
	if err != nil {
		return err
	}
	in.P50, in.P99 = latencies.Percentile(50), latencies.Percentile(99)
	s.say("  pick-up p50 %.1f ms, p99 %.1f ms; commands in %.0f s: %v; worker %.1f MiB", in.P50, in.P99, in.Seconds, in.Commands, in.WorkerMiB)
	r.Idle = in
	return nil
}

// pickUps sends deliveries one by one, at no regular times, and measures how long
// after its 200 each is in the database.
func (s *Suite) pickUps(ctx context.Context, st *stage) (_ *stats.Latencies, err error) {
	rec, err := s.Rig.StartReceiver(ctx, rig.Klinghook, st.rd, nil)
	if err != nil {
		return nil, err
	}
	defer stop(&err, rec)
	conn, err := st.pg.Connect(ctx, st.database)
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close(ctx) }() // nothing is in flight
	latencies := stats.NewLatencies()
	client := &http.Client{Timeout: 10 * time.Second}
	defer client.CloseIdleConnections()
	for i := range s.Plan.PickUps {
		if err := pause(ctx, 200*time.Millisecond+rand.N(150*time.Millisecond)); err != nil {
			return nil, err
		}
		e := load.Event{Index: i, Size: bodySize}
		body := e.Body()
		if err := load.Send(ctx, client, rec.URL, load.Signed(s.Rig.Secret, body), body); err != nil {
			return nil, err
		}
		answered := time.Now()
		if err := awaitJob(ctx, conn, e.JobID()); err != nil {
			return nil, err
		}
		latencies.Add(time.Since(answered), 1)
	}
	return latencies, nil
}

// awaitJob waits until a job is in the database.
func awaitJob(ctx context.Context, conn *pgx.Conn, id string) error {
	there, err := until(ctx, time.Millisecond, 10*time.Second, func(ctx context.Context) (there bool, err error) {
		err = conn.QueryRow(ctx, `SELECT EXISTS (SELECT 1 FROM jobs WHERE id = $1)`, id).Scan(&there)
		return there, err
	})
	if err == nil && !there {
		err = fmt.Errorf("job %s was answered with 200 and is not in the database after 10 s", id)
	}
	return err
}
