package suite

import (
	"context"
	"fmt"
	"time"

	"github.com/klinghook/klinghook/bench/internal/results"
	"github.com/klinghook/klinghook/bench/internal/rig"
)

// work is what is done for each event of a backlog, and by whom.
type work int

const (
	recording  work = iota // by klinghook's worker
	plain                  // nothing, by one asynq Server
	effectless             // nothing, by klinghook's worker
)

// drainCase is one worker on one backlog.
type drainCase struct {
	name    string
	redis   rig.RedisConfig
	work    work
	backlog int
	rounds  int
}

// drain measures how fast backlogs become rows, beside pgbench, and the whole path.
func (s *Suite) drain(ctx context.Context, r *results.Results) (err error) {
	d := &results.Drain{Stamp: s.stamp()}
	pg, err := s.Rig.StartPostgres(ctx)
	if err != nil {
		return err
	}
	defer stop(&err, pg)
	if d.Pgbench, err = s.pgbenchAll(ctx, pg); err != nil {
		return err
	}
	distant := rig.RedisConfig{Each: each}
	cases := []drainCase{
		{results.PlainLoopback, rig.RedisConfig{}, plain, 2 * s.Plan.Backlog, s.Plan.SideRounds},
		{results.EffectlessLoopback, rig.RedisConfig{}, effectless, 2 * s.Plan.Backlog, s.Plan.SideRounds},
		{results.RowLoopback, rig.RedisConfig{}, recording, s.Plan.Backlog, s.Plan.SideRounds},
		{results.PlainDistant, distant, plain, s.Plan.Backlog / 4, s.Plan.SideRounds},
		{results.EffectlessDistant, distant, effectless, s.Plan.Backlog, s.Plan.SideRounds},
		{results.RowDistant, distant, recording, s.Plan.Backlog, s.Plan.SideRounds},
		{results.RowDeep, rig.RedisConfig{}, recording, s.Plan.DeepBacklog, 1},
	}
	d.Rows = make([]results.DrainRow, len(cases))
	for round := range s.Plan.SideRounds {
		for i, c := range cases {
			if round >= c.rounds {
				continue
			}
			if err := s.drainOnce(ctx, pg, c, &d.Rows[i]); err != nil {
				return fmt.Errorf("%s: %w", c.name, err)
			}
			row := d.Rows[i]
			s.say("  %-48s %7.0f/s  %.1f µs/event  %.1f MiB  %d left of %d", c.name, row.Rates[round], row.CPU, row.PeakMiB, row.Left, c.backlog)
		}
	}
	d.WholePath = &results.WholePath{Window: windowSize, Connections: windowConnections}
	for range s.Plan.SideRounds {
		if err := s.wholePath(ctx, pg, d.WholePath); err != nil {
			return fmt.Errorf("whole path: %w", err)
		}
		w := d.WholePath
		s.say("  whole path: %7.0f/s  sender %.1f, ingest %.1f, Redis %.1f, worker %.1f, PostgreSQL %.1f µs/event",
			w.Rates[len(w.Rates)-1], w.SenderCPU, w.IngestCPU, w.RedisCPU, w.CPU, w.PostgresCPU)
	}
	r.Drain = d
	return nil
}

// drainOnce adds one round to a row.
func (s *Suite) drainOnce(ctx context.Context, pg *rig.Postgres, c drainCase, row *results.DrainRow) (err error) {
	st, err := s.newStage(ctx, pg, c.redis)
	if err != nil {
		return err
	}
	defer stop(&err, st)
	rtt, err := st.rd.RoundTrip(ctx)
	if err != nil {
		return err
	}
	if err := st.fill(ctx, c.backlog, nil); err != nil {
		return err
	}
	if err := st.rd.Hold(ctx, "events"); err != nil {
		return err
	}
	var w *rig.Worker
	switch c.work {
	case plain:
		w, err = s.Rig.StartPlainWorker(st.rd, plainConcurrency)
	case effectless:
		w, err = s.Rig.StartEffectlessWorker(st.rd)
	case recording:
		w, err = st.worker(ctx, nil)
	}
	if err != nil {
		return err
	}
	defer stop(&err, w)
	span, err := st.watchDrain(ctx, w, c.backlog)
	if err != nil {
		return fmt.Errorf("%w; the worker printed:\n%s", err, w.LogTail())
	}
	row.Name, row.Backlog, row.RoundTrip = c.name, c.backlog, ms(rtt)
	row.Rates = append(row.Rates, span.rate())
	row.CPU, row.RedisCPU = span.cpu(worked), span.cpu(redisWorked)
	if c.work == recording {
		row.PostgresCPU = span.cpu(postgresWorked)
	}
	row.PeakMiB = max(row.PeakMiB, float64(span.last.used[worked].Peak)/mib)
	row.Left = int64(c.backlog) - span.done
	if c.work != recording || row.Left > 0 {
		return nil
	}
	return st.checkRecorded(ctx, int64(c.backlog))
}

// checkRecorded fails when fewer events are in the database than were done.
func (st *stage) checkRecorded(ctx context.Context, n int64) error {
	recorded, err := st.recorded(ctx)
	if err == nil && recorded != n {
		err = fmt.Errorf("%d events are done and %d of them are in the database", n, recorded)
	}
	return err
}

// Whose processor time is read of a drain: the worker's, Redis's, PostgreSQL's, and of the
// whole path klinghook-ingest's and the sender's, which is the harness itself.
const (
	worked = iota
	redisWorked
	postgresWorked
	ingestWorked
	senderWorked
	workers // how many they are
)

// reading is how far a drain was at a time, and what it had cost by then.
type reading struct {
	at   time.Time
	done int64
	used [workers]rig.Usage
}

// read reads how far it is. pids are those that work; 0 for one that does not.
func (st *stage) read(ctx context.Context, pids [workers]int) (r reading, err error) {
	b, err := st.rd.Backlog(ctx, "events")
	if err != nil {
		return r, err
	}
	r.at, r.done = time.Now(), b.Done
	for i, pid := range pids {
		if pid == 0 {
			continue
		}
		if r.used[i], err = rig.UsageOf(pid); err != nil {
			return r, err
		}
	}
	r.used[senderWorked], err = rig.OwnUsage()
	return r, err
}

// drainSpan is the part of a drain that counts: without its beginning and its end.
type drainSpan struct {
	first, last reading
	// done is how much was done in the end.
	done int64
}

func (d drainSpan) rate() float64 {
	return float64(d.last.done-d.first.done) / d.last.at.Sub(d.first.at).Seconds()
}

func (d drainSpan) cpu(of int) float64 {
	return perEvent(d.last.used[of].CPU-d.first.used[of].CPU, d.last.done-d.first.done)
}

// watchDrain lets the workers go and reads how far they are after the first tenth of
// the backlog, and when nine tenths are done or the time is up; and then waits for
// the rest, if there is time.
func (st *stage) watchDrain(ctx context.Context, w *rig.Worker, backlog int) (span drainSpan, err error) {
	if err := st.rd.Release(ctx, "events"); err != nil {
		return span, err
	}
	limit := st.suite.Plan.DrainLimit
	began := time.Now()
	for _, to := range []struct {
		reading *reading
		done    int
	}{{&span.first, min(backlog/10, 2000)}, {&span.last, backlog * 9 / 10}} {
		_, err := until(ctx, 10*time.Millisecond, limit-time.Since(began), func(ctx context.Context) (bool, error) {
			b, err := st.rd.Backlog(ctx, "events")
			return b.Done >= int64(to.done), err
		})
		if err != nil {
			return span, err
		}
		if *to.reading, err = st.read(ctx, [workers]int{worked: w.PID(), redisWorked: st.rd.PID(), postgresWorked: st.pg.PID()}); err != nil {
			return span, err
		}
	}
	if span.last.done == span.first.done {
		return span, fmt.Errorf("nothing was done in %s", limit)
	}
	_, err = until(ctx, 10*time.Millisecond, limit-time.Since(began), func(ctx context.Context) (bool, error) {
		b, err := st.rd.Backlog(ctx, "events")
		span.done = b.Done
		return b.Waiting == 0, err
	})
	return span, err
}
