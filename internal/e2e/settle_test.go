package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"github.com/klinghook/klinghook/internal/testenv"
)

// settle waits until nothing is left to do, and returns how long that took.
func (s *system) settle() time.Duration {
	s.t.Helper()
	start := time.Now()
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	logged := start
	for still := 0; still < 2; {
		busy := s.busy()
		if still++; busy != "" {
			still = 0
		}
		if time.Since(logged) > 30*time.Second {
			s.t.Logf("after %s: %s", time.Since(start).Round(time.Second), busy)
			logged = time.Now()
		}
		select {
		case <-tick.C:
		case <-s.ctx.Done():
			s.t.Errorf("not done after %s: %s", time.Since(start).Round(time.Second), busy)
			return time.Since(start)
		}
	}
	return time.Since(start)
}

// busy describes the work left to do; empty if none. It checks the stages of an
// event in their order, so that none is missed.
func (s *system) busy() string {
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

// queued describes the tasks in the queues.
func (s *system) queued(ctx context.Context) (busy []string, err error) {
	rdb := s.rdb
	if rdb == nil {
		if rdb, err = s.embedded(ctx); err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, rdb.Close()) }()
	}
	inspector := asynq.NewInspectorFromRedisClient(rdb)
	queues, err := inspector.Queues()
	if err != nil {
		return nil, err
	}
	for _, queue := range queues {
		info, err := inspector.GetQueueInfo(queue)
		if err != nil {
			return busy, fmt.Errorf("queue %s: %w", queue, err)
		}
		if info.Pending+info.Active+info.Scheduled+info.Retry > 0 {
			busy = append(busy, fmt.Sprintf("queue %s: %d pending, %d active, %d scheduled, %d to retry", queue, info.Pending, info.Active, info.Scheduled, info.Retry))
		}
	}
	return busy, nil
}

var depthMetric = regexp.MustCompile(`(?m)^klinghook_spool_events (\S+)$`)

// spoolDepth returns how many events are in an ingest process's spool.
func spoolDepth(ctx context.Context, admin string) (int, error) {
	_, metrics, err := get(ctx, "http://"+admin+"/metrics")
	if err != nil {
		return 0, err
	}
	found := depthMetric.FindStringSubmatch(metrics)
	if found == nil {
		return 0, nil // dev has no spool
	}
	depth, err := strconv.ParseFloat(found[1], 64)
	return int(depth), err
}

// replay replays the dead letters of files for which the media server answered 404, as
// a person would. Other dead letters are left.
func (s *system) replay() (replayed int) {
	s.t.Helper()
	k, err := readStore(s.ctx, s.db)
	testenv.NoError(s.t, err)
	for _, d := range k.deadLetters {
		if s.excused(d) {
			replayed++
		}
	}
	if replayed == 0 {
		return 0
	}
	s.mustRun("deadletters", "replay", "--kind", "media:download", "--error", "404")
	return replayed
}

// tidy makes the temporary files of killed downloads look two hours old and restarts a
// process, which must remove them.
func (s *system) tidy() {
	s.t.Helper()
	leftovers := func() (paths []string) {
		for name := range (&reconciler{system: s}).objects() {
			if strings.HasSuffix(name, ".tmp") {
				paths = append(paths, filepath.Join(s.bucket, name))
			}
		}
		return paths
	}
	old := time.Now().Add(-2 * time.Hour)
	for _, path := range leftovers() {
		testenv.NoError(s.t, os.Chtimes(path, old, old))
	}
	last := s.all()[len(s.all())-1]
	last.stop()
	last.start()
	s.await("leftovers of killed downloads to be removed", func() bool { return len(leftovers()) == 0 })
}

// excused reports whether a dead letter is of a file for which the media server
// answered 404.
func (s *system) excused(d deadLetter) bool {
	if d.kind != "media:download" || !strings.Contains(d.cause, "404") {
		return false
	}
	for _, e := range s.sender.ledger.read().events {
		for _, path := range e.says.files {
			if e.says.job == d.job && s.media.wasMissing(path) {
				return true
			}
		}
	}
	return false
}

// embedded connects to the queue in dev's memory.
func (s *system) embedded(ctx context.Context) (*redis.Client, error) {
	content, err := os.ReadFile(filepath.Join(s.settings["KLINGHOOK_DATA"], "dev.json"))
	if err != nil {
		return nil, err
	}
	var note struct{ Redis string }
	if err := json.Unmarshal(content, &note); err != nil {
		return nil, err
	}
	options, err := redis.ParseURL(note.Redis)
	if err != nil {
		return nil, err
	}
	rdb := redis.NewClient(options)
	if err := rdb.Ping(ctx).Err(); err != nil {
		return nil, errors.Join(err, rdb.Close())
	}
	return rdb, nil
}
