package dashboard

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/klinghook/klinghook/internal/admin"
	"github.com/klinghook/klinghook/internal/store"
	"github.com/klinghook/klinghook/tasks"
)

const (
	// streamEvery is how often changes are read, and heartbeatEvery how often a client
	// without news gets a comment.
	streamEvery    = time.Second
	heartbeatEvery = 15 * time.Second
	// overlap is how much of the past is read again, because a change may become visible
	// some seconds after its time.
	overlap = 10 * time.Second
	// maxChanges is how many changes are read at once, and maxResumed how many a
	// reconnecting client gets.
	maxChanges, maxResumed = 500, 2000
	// maxStreams is how many clients may listen at once.
	maxStreams = 200
	// pollTimeout limits one reading.
	pollTimeout = 10 * time.Second
)

// reset is the event that tells a client to read the list of jobs again.
const reset = "event: reset\ndata: {}\n\n"

// JobRef names a job in the stream.
type JobRef struct {
	Platform string `json:"platform"`
	ID       string `json:"id"`
}

// streams sends changes of jobs to any number of clients. One poller reads the store for
// all of them, while there are any.
type streams struct {
	store *store.Store
	log   *zap.Logger
	// shown returns a job as clients see it.
	shown func(store.JobRow) ListedJob
	every time.Duration
	// stop ends all streams when it is closed.
	stop <-chan struct{}

	mu      sync.Mutex // guards the fields below
	clients map[chan []byte]bool
	polling bool
}

func newStreams(d *dashboard) *streams {
	return &streams{store: d.cfg.Store, log: d.cfg.Log, shown: d.listedJob, every: streamEvery, stop: d.cfg.Stop, clients: map[chan []byte]bool{}}
}

// serve streams to one client until it leaves, falls behind, or stop is closed.
func (s *streams) serve(w http.ResponseWriter, r *http.Request, lastID string) {
	news := make(chan []byte, 64)
	if !s.join(r.Context(), news) {
		w.Header().Set("Retry-After", "30")
		admin.Refuse(w, r, http.StatusServiceUnavailable, "too many streams are open; close one, or try again later")
		return
	}
	defer s.leave(news)
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no") // nginx would collect events
	out := newDeadlineWriter(w)
	send := func(text []byte) bool {
		_, err := out.Write(text)
		return err == nil && out.control.Flush() == nil
	}
	if !send([]byte("retry: 2000\n\n")) || r.Method == http.MethodHead {
		return
	}
	if !send(s.missed(r.Context(), lastID)) {
		return
	}
	beat := time.NewTicker(heartbeatEvery)
	defer beat.Stop()
	for {
		text := []byte(":\n\n")
		select {
		case <-r.Context().Done():
			return
		case <-s.stop:
			return
		case <-beat.C:
		case changed, ok := <-news:
			if !ok { // fell behind
				return
			}
			text = changed
		}
		if !send(text) {
			return
		}
	}
}

// join adds a client, and starts the poller for the first one. It reports false if there
// are too many.
func (s *streams) join(ctx context.Context, news chan []byte) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.clients) >= maxStreams {
		return false
	}
	s.clients[news] = true
	if !s.polling {
		s.polling = true
		go s.poll(context.WithoutCancel(ctx))
	}
	return true
}

func (s *streams) leave(news chan []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.clients, news)
}

// broadcast sends events to all clients, and ends the streams of those that are behind. It
// reports false, which ends the poller, if there are no clients.
func (s *streams) broadcast(events []byte) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for news := range s.clients {
		if len(events) == 0 {
			break
		}
		select {
		case news <- events:
		default:
			delete(s.clients, news)
			close(news)
		}
	}
	s.polling = len(s.clients) > 0
	return s.polling
}

// poll sends changes until there are no clients.
func (s *streams) poll(ctx context.Context) {
	tick := time.NewTicker(s.every)
	defer tick.Stop()
	reading := changes{store: s.store, after: s.latest(ctx).Add(-overlap), seen: map[store.Change]bool{}}
	for {
		list, err := reading.next(ctx, maxChanges)
		events := s.events(ctx, list)
		if err != nil {
			s.log.Warn("changes of jobs not read", zap.Error(err))
		}
		if !s.broadcast(events) {
			return
		}
		select {
		case <-tick.C:
		case <-s.stop:
			return
		}
	}
}

// latest returns the time of the latest change, or now. The clocks of workers may be slow.
func (s *streams) latest(ctx context.Context) time.Time {
	ctx, cancel := context.WithTimeout(ctx, pollTimeout)
	defer cancel()
	now := time.Now()
	if last, err := s.store.LastChange(ctx); err == nil && !last.IsZero() && last.Before(now) {
		return last
	}
	return now
}

// missed returns the events that a client may have missed: those since the one with an id
// or, without an id, the latest.
func (s *streams) missed(ctx context.Context, lastID string) []byte {
	from, start := s.latest(ctx), ""
	switch micros, err := strconv.ParseInt(lastID, 10, 64); {
	case err == nil:
		from = time.UnixMicro(micros)
	case lastID != "":
		start = reset
	}
	reading := changes{store: s.store, after: from.Add(-overlap), seen: map[store.Change]bool{}}
	list, err := reading.next(ctx, maxResumed)
	if err != nil || len(list) >= maxResumed {
		return []byte(reset)
	}
	return append([]byte(start), s.events(ctx, list)...)
}

// byKey returns jobs by their keys.
func byKey(rows []store.JobRow) map[tasks.JobKey]store.JobRow {
	jobs := make(map[tasks.JobKey]store.JobRow, len(rows))
	for _, row := range rows {
		jobs[row.Key] = row
	}
	return jobs
}

// events returns the events of changed and deleted jobs, the oldest change first.
func (s *streams) events(ctx context.Context, list []store.Change) []byte {
	ctx, cancel := context.WithTimeout(ctx, pollTimeout)
	defer cancel()
	latest := map[tasks.JobKey]store.Change{}
	for _, change := range list {
		change.Deleted = change.Deleted || latest[change.Job].Deleted
		latest[change.Job] = change
	}
	if len(latest) == 0 {
		return nil
	}
	rows, err := s.store.JobRows(ctx, slices.Collect(maps.Keys(latest)))
	if err != nil {
		s.log.Warn("changed jobs not read", zap.Error(err))
		return []byte(reset)
	}
	found := byKey(rows)
	var out bytes.Buffer
	for _, change := range slices.SortedFunc(maps.Values(latest), func(a, b store.Change) int { return a.At.Compare(b.At) }) {
		event, data := "job", any(nil)
		row, exists := found[change.Job]
		switch {
		case exists:
			data = s.shown(row)
		case change.Deleted:
			event, data = "deleted", JobRef{change.Job.Platform, change.Job.ID}
		default: // such as a dead letter of an event without a job
			continue
		}
		if text, err := json.Marshal(data); err == nil { // a type that JSON has
			fmt.Fprintf(&out, "id: %d\nevent: %s\ndata: %s\n\n", change.At.UnixMicro(), event, text)
		}
	}
	return out.Bytes()
}

// changes reads changes after a time, each once.
type changes struct {
	store *store.Store
	after time.Time
	seen  map[store.Change]bool
}

// next returns at most limit changes that were not returned before, oldest first.
func (c *changes) next(ctx context.Context, limit int) ([]store.Change, error) {
	ctx, cancel := context.WithTimeout(ctx, pollTimeout)
	defer cancel()
	var list []store.Change
	for from := c.after; ; {
		page, err := c.store.Changes(ctx, from, maxChanges)
		if err != nil {
			return list, err
		}
		for _, change := range page {
			if !c.seen[change] {
				c.seen[change] = true
				list = append(list, change)
			}
		}
		if len(page) > 0 {
			from = page[len(page)-1].At
		}
		if len(page) < maxChanges || len(list) >= limit {
			c.forget(from.Add(-overlap))
			return list, nil
		}
	}
}

// forget advances after and drops older changes from seen.
func (c *changes) forget(after time.Time) {
	if !after.After(c.after) {
		return
	}
	c.after = after
	maps.DeleteFunc(c.seen, func(change store.Change, _ bool) bool { return change.At.Before(after) })
}
