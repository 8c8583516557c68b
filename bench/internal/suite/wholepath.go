package suite

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/klinghook/klinghook/bench/internal/load"
	"github.com/klinghook/klinghook/bench/internal/results"
	"github.com/klinghook/klinghook/bench/internal/rig"
)

const (
	// windowSize is how many events of the whole path are outstanding at most. It is
	// more than is worked on at once, and a fraction of a second's events.
	windowSize = 512
	// windowConnections are those that send them.
	windowConnections = 32
)

// wholePath adds a round to w: what klinghook-ingest and a worker take together, and
// go on taking. The sender has no more than so many events outstanding, those that
// were sent and are not recorded yet: it sends as fast as is recorded, and nothing
// piles up.
func (s *Suite) wholePath(ctx context.Context, pg *rig.Postgres, w *results.WholePath) (err error) {
	st, err := s.newStage(ctx, pg, rig.RedisConfig{})
	if err != nil {
		return err
	}
	defer stop(&err, st)
	rec, err := s.Rig.StartReceiver(ctx, rig.Klinghook, st.rd, nil)
	if err != nil {
		return err
	}
	defer stop(&err, rec)
	worker, err := st.worker(ctx, nil)
	if err != nil {
		return err
	}
	defer stop(&err, worker)
	requests, err := s.requests(bodySize)
	if err != nil {
		return err
	}
	// The delivery that the receiver was found to be ready by is an event, too.
	const before = 1
	if err := st.awaitDone(ctx, before); err != nil {
		return err
	}
	end := st.flow(ctx, rec.URL, load.Span{Requests: requests, N: requests.Count}, before)
	span, err := st.readWithin(ctx, s.Plan.WholePath/5, s.Plan.WholePath, [workers]int{
		worked: worker.PID(), redisWorked: st.rd.PID(), postgresWorked: st.pg.PID(), ingestWorked: rec.PID(),
	})
	sent, flowErr := end()
	if err := errors.Join(err, flowErr); err != nil {
		return err
	}
	if err := st.awaitDone(ctx, before+sent); err != nil {
		return err
	}
	w.Rates = append(w.Rates, span.rate())
	w.CPU, w.RedisCPU, w.PostgresCPU = span.cpu(worked), span.cpu(redisWorked), span.cpu(postgresWorked)
	w.IngestCPU, w.SenderCPU = span.cpu(ingestWorked), span.cpu(senderWorked)
	w.PeakMiB = max(w.PeakMiB, float64(span.last.used[worked].Peak)/mib)
	return st.checkRecorded(ctx, before+sent)
}

// flow begins to send; before are the events that were done by then. What it returns
// ends that, and returns how many were sent.
func (st *stage) flow(ctx context.Context, url string, span load.Span, before int64) (end func() (sent int64, err error)) {
	ctx, cancel := context.WithCancel(ctx)
	window := load.NewWindow(windowSize)
	watched := make(chan error, 1)
	go func() {
		_, err := until(ctx, 5*time.Millisecond, st.suite.Plan.WholePath+time.Minute, func(ctx context.Context) (bool, error) {
			b, err := st.rd.Backlog(ctx, "events")
			window.Done(b.Done - before)
			return false, err
		})
		watched <- err
	}()
	type sending struct {
		n   int64
		err error
	}
	ended := make(chan sending, 1)
	go func() {
		n, err := load.Flow(ctx, url, span, windowConnections, window)
		ended <- sending{n, err}
	}()
	return func() (int64, error) {
		cancel()
		s, err := <-ended, <-watched
		if errors.Is(err, context.Canceled) {
			err = nil
		}
		return s.n, errors.Join(s.err, err)
	}
}

// readWithin reads how far it is at one time from now and at another.
func (st *stage) readWithin(ctx context.Context, from, to time.Duration, pids [workers]int) (span drainSpan, err error) {
	began := time.Now()
	for _, point := range []struct {
		at      time.Duration
		reading *reading
	}{{from, &span.first}, {to, &span.last}} {
		if err := pause(ctx, point.at-time.Since(began)); err != nil {
			return span, err
		}
		if *point.reading, err = st.read(ctx, pids); err != nil {
			return span, err
		}
	}
	return span, nil
}

// awaitDone waits until n events are done.
func (st *stage) awaitDone(ctx context.Context, n int64) error {
	var b rig.Backlog
	ok, err := until(ctx, 5*time.Millisecond, st.suite.Plan.DrainLimit, func(ctx context.Context) (_ bool, err error) {
		b, err = st.rd.Backlog(ctx, "events")
		return b.Done >= n, err
	})
	if err == nil && !ok {
		err = fmt.Errorf("%d events of %d are done after %s", b.Done, n, st.suite.Plan.DrainLimit)
	}
	return err
}
