package suite

import (
	"context"
	"fmt"
	"time"

	"github.com/klinghook/klinghook/bench/internal/load"
	"github.com/klinghook/klinghook/bench/internal/results"
	"github.com/klinghook/klinghook/bench/internal/rig"
)

// drainCase is one worker on one backlog.
type drainCase struct {
	name    string
	redis   rig.RedisConfig
	plain   bool
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
		{results.PlainLoopback, rig.RedisConfig{}, true, 2 * s.Plan.Backlog, s.Plan.SideRounds},
		{results.RowLoopback, rig.RedisConfig{}, false, s.Plan.Backlog, s.Plan.SideRounds},
		{results.PlainDistant, distant, true, s.Plan.Backlog / 4, s.Plan.SideRounds},
		{results.RowDistant, distant, false, s.Plan.Backlog, s.Plan.SideRounds},
		{results.RowDeep, rig.RedisConfig{}, false, s.Plan.DeepBacklog, 1},
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
	d.Fed = 1.3 * max(d.Row(results.RowLoopback).Rates[0], 100)
	for range s.Plan.SideRounds {
		rate, err := s.wholePath(ctx, pg, int(d.Fed))
		if err != nil {
			return fmt.Errorf("whole path: %w", err)
		}
		d.WholePath = append(d.WholePath, rate)
		s.say("  whole path, fed with %.0f/s: %7.0f/s", d.Fed, rate)
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
	if c.plain {
		w, err = s.Rig.StartPlainWorker(st.rd, pgbenchClients)
	} else {
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
	if !c.plain {
		row.PostgresCPU = span.cpu(postgresWorked)
	}
	row.PeakMiB = max(row.PeakMiB, float64(span.last.used[worked].Peak)/mib)
	row.Left = int64(c.backlog) - span.done
	if c.plain || row.Left > 0 {
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

// What is read of a drain: the worker, Redis, PostgreSQL.
const (
	worked = iota
	redisWorked
	postgresWorked
)

// reading is how far a drain was at a time, and what it had cost by then.
type reading struct {
	at   time.Time
	done int64
	used [3]rig.Usage
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
			to.reading.done, to.reading.at = b.Done, time.Now()
			return b.Done >= int64(to.done), err
		})
		if err != nil {
			return span, err
		}
		for i, pid := range []int{worked: w.PID(), redisWorked: st.rd.PID(), postgresWorked: st.pg.PID()} {
			if to.reading.used[i], err = rig.UsageOf(pid); err != nil {
				return span, err
			}
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

// wholePath feeds klinghook-ingest a little more than the worker beside it can do,
// and returns how many events a second become rows meanwhile.
func (s *Suite) wholePath(ctx context.Context, pg *rig.Postgres, fed int) (rate float64, err error) {
	st, err := s.newStage(ctx, pg, rig.RedisConfig{})
	if err != nil {
		return 0, err
	}
	defer stop(&err, st)
	rec, err := s.Rig.StartReceiver(ctx, rig.Klinghook, st.rd, nil)
	if err != nil {
		return 0, err
	}
	defer stop(&err, rec)
	w, err := st.worker(ctx, nil)
	if err != nil {
		return 0, err
	}
	defer stop(&err, w)
	requests, err := s.requests(bodySize)
	if err != nil {
		return 0, err
	}
	_, span := requests.Split()
	sent := make(chan error, 1)
	go func() {
		res, err := load.Steady(ctx, rec.URL, span, fed, s.Plan.WholePath)
		if err == nil && res.Errors > 0 {
			err = fmt.Errorf("%d deliveries of %d were refused: %s", res.Errors, res.Requests, res.Failure)
		}
		sent <- err
	}()
	rate, rateErr := st.rateWithin(ctx, s.Plan.WholePath/5, s.Plan.WholePath*9/10)
	if err := <-sent; err != nil {
		return 0, err
	}
	return rate, rateErr
}

// rateWithin returns how many events a second are done from one time from now to
// another.
func (st *stage) rateWithin(ctx context.Context, from, to time.Duration) (float64, error) {
	var ends [2]reading
	began := time.Now()
	for i, at := range []time.Duration{from, to} {
		if err := pause(ctx, at-time.Since(began)); err != nil {
			return 0, err
		}
		b, err := st.rd.Backlog(ctx, "events")
		if err != nil {
			return 0, err
		}
		ends[i] = reading{at: time.Now(), done: b.Done}
	}
	return drainSpan{first: ends[0], last: ends[1]}.rate(), nil
}
