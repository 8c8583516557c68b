package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"github.com/klinghook/klinghook/internal/testenv"
)

// settle waits until nothing is left to do, twice in a row, and returns how long that
// took. admins are the private addresses of the ingest processes.
func (w *world) settle(admins ...string) time.Duration {
	w.t.Helper()
	start := time.Now()
	for range 2 {
		w.await("all work to be done", func() (bool, string) {
			busy, err := w.busy(admins)
			return busy == "" && err == nil, fmt.Sprint(busy, err)
		})
		w.pass(300 * time.Millisecond)
	}
	return time.Since(start)
}

// busy describes the work left to do; empty if none. It checks the stages of an
// event in their order, so that none is missed.
func (w *world) busy(admins []string) (string, error) {
	var busy []string
	for _, addr := range admins {
		if depth, err := w.spoolDepth(addr); err != nil {
			return "", err
		} else if depth > 0 {
			busy = append(busy, fmt.Sprintf("%d events in the spool of %s", depth, addr))
		}
	}
	queued, err := w.queued()
	if err != nil {
		return "", err
	}
	owed, err := w.owed()
	if err == nil && owed != [3]int{} {
		busy = append(busy, fmt.Sprintf("owed by the store: %d events, files and notifications", owed))
	}
	deleting, erasureErr := w.unfinishedErasures()
	if deleting > 0 {
		busy = append(busy, fmt.Sprintf("%d jobs are being deleted", deleting))
	}
	return strings.Join(append(busy, queued...), "; "), errors.Join(err, erasureErr)
}

// queued describes the tasks in the queues.
func (w *world) queued() (busy []string, err error) {
	rdb := w.rdb
	if rdb == nil {
		if rdb, err = w.embedded(); err != nil {
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
			return nil, fmt.Errorf("queue %s: %w", queue, err)
		}
		if info.Pending+info.Active+info.Scheduled+info.Retry > 0 {
			busy = append(busy, fmt.Sprintf("queue %s: %d pending, %d active, %d scheduled, %d to retry", queue, info.Pending, info.Active, info.Scheduled, info.Retry))
		}
	}
	return busy, nil
}

// spoolDepth returns how many events are in an ingest process's spool.
func (w *world) spoolDepth(admin string) (int, error) {
	w.t.Helper()
	_, metrics, err := get(w.ctx, "http://"+admin+"/metrics")
	if err != nil {
		return 0, err
	}
	return metric(w.t, metrics, "klinghook_spool_events"), nil
}

// metric returns the value of a series; 0 if there is none.
func metric(t *testing.T, metrics, series string) int {
	t.Helper()
	found := regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(series) + ` (\S+)$`).FindStringSubmatch(metrics)
	if found == nil {
		return 0 // dev has no spool
	}
	value, err := strconv.ParseFloat(found[1], 64)
	testenv.NoError(t, err)
	return int(value)
}

// embedded connects to the queue in dev's memory.
func (w *world) embedded() (redis.UniversalClient, error) {
	content, err := os.ReadFile(filepath.Join(w.settings["KLINGHOOK_DATA"], "dev.json"))
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
	if err := rdb.Ping(w.ctx).Err(); err != nil {
		return nil, errors.Join(err, rdb.Close())
	}
	return rdb, nil
}

// replay replays the dead letters of files for which the media server answered 404, as
// a person would, and returns how many there were. Other dead letters are left.
func (w *world) replay() int {
	w.t.Helper()
	n := w.number(`SELECT count(*) FROM dead_letters WHERE state = 'dead' AND kind = 'media:download' AND error LIKE '%404%'`)
	if n > 0 {
		w.mustRun("deadletters", "replay", "--kind", "media:download", "--error", "404")
	}
	return n
}

// tidy makes the temporary files of killed downloads look two hours old and restarts a
// process, which must remove them.
func (w *world) tidy() {
	w.t.Helper()
	leftovers := func() []string {
		paths, err := filepath.Glob(filepath.Join(w.bucket, "*", "*.tmp"))
		testenv.NoError(w.t, err)
		return paths
	}
	old := time.Now().Add(-2 * time.Hour)
	for _, path := range leftovers() {
		testenv.NoError(w.t, os.Chtimes(path, old, old))
	}
	last := w.services[len(w.services)-1]
	last.stop()
	before := len(last.output())
	last.begin()
	w.await(last.name+" to start", func() (bool, string) { return len(last.output()) > before, "" })
	w.await("leftovers of killed downloads to be removed", func() (bool, string) { return len(leftovers()) == 0, "" })
}
