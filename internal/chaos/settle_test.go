package chaos

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/hibiken/asynq"
)

// queues are klinghook's, as its documentation names them.
func queues() []string { return []string{"events", "media", "notify", "rejections"} }

// settle waits until everything has come to rest, and returns how long that took.
func (s *system) settle() time.Duration {
	s.t.Helper()
	start := time.Now()
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	said := start
	for still := 0; still < 2; {
		unrest := s.unrest()
		if still++; unrest != "" {
			still = 0
		}
		if time.Since(said) > 30*time.Second {
			s.t.Logf("after %s: %s", time.Since(start).Round(time.Second), unrest)
			said = time.Now()
		}
		select {
		case <-tick.C:
		case <-s.ctx.Done():
			s.t.Errorf("did not come to rest within %s: %s", time.Since(start).Round(time.Second), unrest)
			return time.Since(start)
		}
	}
	return time.Since(start)
}

// unrest says what is still to be done; empty for nothing. It looks along the way
// of an event, so that nothing can slip past it.
func (s *system) unrest() string {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(s.ctx), 5*time.Second)
	defer cancel()
	var busy []string
	for i, addr := range s.admins {
		depth, err := spoolDepth(ctx, addr)
		if err != nil {
			busy = append(busy, fmt.Sprintf("spool %d: %v", i+1, err))
		} else if depth > 0 {
			busy = append(busy, fmt.Sprintf("%d events in spool %d", depth, i+1))
		}
	}
	queued, err := s.queued(ctx)
	if err != nil {
		busy = append(busy, err.Error())
	}
	busy = append(busy, queued...)
	events, media, notifications, err := owed(ctx, s.db)
	if err != nil {
		busy = append(busy, err.Error())
	}
	if events+media+notifications > 0 {
		busy = append(busy, fmt.Sprintf("owed by the store: %d events, %d files, %d notifications", events, media, notifications))
	}
	return strings.Join(busy, "; ")
}

// queued says what is in the queues.
func (s *system) queued(ctx context.Context) (busy []string, err error) {
	rdb := s.rdb
	if rdb == nil {
		if rdb, err = s.embedded(ctx); err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, rdb.Close()) }()
	}
	inspector := asynq.NewInspectorFromRedisClient(rdb)
	for _, queue := range queues() {
		info, err := inspector.GetQueueInfo(queue)
		if errors.Is(err, asynq.ErrQueueNotFound) || err != nil && strings.Contains(err.Error(), "NOT_FOUND") {
			continue
		}
		if err != nil {
			return busy, fmt.Errorf("look at queue %s: %w", queue, err)
		}
		if info.Pending+info.Active+info.Scheduled+info.Retry > 0 {
			busy = append(busy, fmt.Sprintf("queue %s: %d pending, %d active, %d scheduled, %d to retry", queue, info.Pending, info.Active, info.Scheduled, info.Retry))
		}
	}
	return busy, nil
}

var depthMetric = regexp.MustCompile(`(?m)^klinghook_spool_events (\S+)$`)

// spoolDepth asks an ingest process how many events are in its spool.
func spoolDepth(ctx context.Context, admin string) (int, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+admin+"/metrics", nil)
	if err != nil {
		return 0, err
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, err
	}
	body, err := io.ReadAll(res.Body)
	if err := errors.Join(err, res.Body.Close()); err != nil {
		return 0, err
	}
	found := depthMetric.FindSubmatch(body)
	if found == nil {
		return 0, errors.New("its metrics do not tell the spool's depth")
	}
	depth, err := strconv.ParseFloat(string(found[1]), 64)
	return int(depth), err
}

// replay replays what was given up because the media server said for a while that
// there is no such file, as a person would. Any other dead letter is left.
func (s *system) replay() (replayed int) {
	s.t.Helper()
	k, err := readStore(s.ctx, s.db)
	if err != nil {
		s.t.Fatal(err)
	}
	for _, d := range k.deadLetters {
		if s.excused(d) {
			replayed++
		}
	}
	if replayed == 0 {
		return 0
	}
	settings := s.settings()
	for name, value := range secrets() {
		settings[name] = value
	}
	if _, err := s.set.Run(s.ctx, settings, "deadletters", "replay", "--kind", "media:download", "--error", "404"); err != nil {
		s.t.Error(err)
	}
	return replayed
}

// excused reports whether a dead letter is of a file of which the media server said
// that it is not there.
func (s *system) excused(d deadLetter) bool {
	if d.kind != "media:download" || !strings.Contains(d.cause, "404") {
		return false
	}
	for _, e := range s.sender.ledger.sent() {
		for _, path := range e.says.files {
			if e.says.job == d.job && s.media.wasMissing(path) {
				return true
			}
		}
	}
	return false
}

// all returns every process.
func (s *system) all() []*supervised {
	return append(append([]*supervised(nil), s.ingests...), s.workers...)
}
