package alert

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"

	"github.com/klinghook/klinghook/tasks"
)

const (
	lease  = "klinghook:alerts:lease"
	states = "klinghook:alerts" // a hash
	// leaseTime is how soon another process takes over from one that has died.
	leaseTime = time.Minute
	// watchEvery is how often the causes are checked.
	watchEvery = 10 * time.Second
	// roundTimeout ends a round while its lease is valid.
	roundTimeout = leaseTime - 15*time.Second
	// minInterval is the shortest time between two alerts about a cause.
	minInterval = time.Hour
	// A failed send is repeated after retryFirst. The wait doubles up to retryCap.
	retryFirst, retryCap = 30 * time.Second, 15 * time.Minute
)

// Config describes a Watcher. All fields but Now are required.
type Config struct {
	Redis       redis.UniversalClient
	EventShards int
	// Destinations are names. Send sends a message to one of them; its errors show no
	// secrets.
	Destinations []string
	Send         func(ctx context.Context, destination, title, text string) error
	Log          *zap.Logger
	// Now is the clock; default time.Now.
	Now func() time.Time
}

// Watcher sends alerts.
type Watcher struct {
	cfg  Config
	name string // in the lease
}

// New returns a Watcher.
func New(cfg Config) *Watcher {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Watcher{cfg: cfg, name: rand.Text()}
}

// Run watches until ctx ends.
func (w *Watcher) Run(ctx context.Context) {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		if err := w.Watch(ctx); err != nil && ctx.Err() == nil {
			w.cfg.Log.Warn("alerts not checked", zap.Error(err))
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// Watch checks the causes once and sends what changed, unless another process watches.
func (w *Watcher) Watch(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, roundTimeout)
	defer cancel()
	mine, err := tasks.AcquireLease(ctx, w.cfg.Redis, lease, w.name, leaseTime)
	if err != nil || !mine {
		return err
	}
	known, err := w.cfg.Redis.HGetAll(ctx, states).Result()
	if err != nil {
		return fmt.Errorf("read the state of alerts: %w", err)
	}
	list, err := conditions(ctx, w.cfg.Redis, w.cfg.EventShards)
	if err != nil {
		return err
	}
	// A slow destination does not delay the others.
	errs := make([]error, len(w.cfg.Destinations))
	var group sync.WaitGroup
	for i, destination := range w.cfg.Destinations {
		group.Go(func() {
			for _, c := range list {
				errs[i] = errors.Join(errs[i], w.notify(ctx, destination, c, known[c.cause+" "+destination]))
			}
		})
	}
	group.Wait()
	return errors.Join(errs...)
}

// state is what one destination has been sent about a cause.
type state struct {
	// Since is when the condition began; zero while all is well.
	Since time.Time `json:"since,omitzero"`
	// Told is the level last sent; 0 if all was well.
	Told int64 `json:"told,omitempty"`
	// ToldAt is when a message about a problem was last sent.
	ToldAt time.Time `json:"told_at,omitzero"`
	// Failures counts failed sends in a row; the next one is at RetryAt.
	Failures int       `json:"failures,omitempty"`
	RetryAt  time.Time `json:"retry_at,omitzero"`
}

// message is what to send to a destination.
type message int

const (
	nothing message = iota
	begun
	ended
)

// next returns the state before a message, and the message that is due.
func (s state) next(c condition, now time.Time) (state, message) {
	if c.level == 0 {
		if s.Told == 0 { // it ended before a message was sent
			return state{ToldAt: s.ToldAt}, nothing
		}
		s.Since = time.Time{}
		if now.Before(s.RetryAt) {
			return s, nothing
		}
		return s, ended
	}
	if s.Since.IsZero() {
		s.Since = now
	}
	s.Told = min(s.Told, c.level) // a later rise is reported again
	if c.level == s.Told || now.Sub(s.Since) < c.after || now.Before(s.RetryAt) || !s.ToldAt.IsZero() && now.Sub(s.ToldAt) < minInterval {
		return s, nothing
	}
	return s, begun
}

// notify brings one destination up to date about a cause. If the process is killed between
// sending and saving, the message is sent twice.
func (w *Watcher) notify(ctx context.Context, destination string, c condition, saved string) error {
	var s state
	_ = json.Unmarshal([]byte(saved), &s) // nothing was sent, or another release sent it
	now := w.cfg.Now().UTC()
	s, due := s.next(c, now)
	if due != nothing {
		title, text := "klinghook: "+c.title, c.text
		if due == ended {
			title, text = "klinghook: over", c.over
		}
		s = w.send(ctx, destination, title, text, s, c.level, now)
	}
	text, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("encode the state of an alert: %w", err)
	}
	if string(text) == saved || saved == "" && s == (state{}) {
		return nil
	}
	if err := w.cfg.Redis.HSet(context.WithoutCancel(ctx), states, c.cause+" "+destination, text).Err(); err != nil {
		return fmt.Errorf("save the state of an alert: %w", err)
	}
	return nil
}

// send sends a message and returns the state after it.
func (w *Watcher) send(ctx context.Context, destination, title, text string, s state, level int64, now time.Time) state {
	if err := w.cfg.Send(ctx, destination, title, text); err != nil {
		wait := max(min(retryFirst<<min(s.Failures, 10), retryCap), tasks.RetryAfterOf(err))
		s.Failures, s.RetryAt = s.Failures+1, now.Add(wait)
		w.cfg.Log.Warn("alert not sent", zap.String("destination", destination), zap.String("title", title), zap.Duration("retry_in", wait), zap.Error(err))
		return s
	}
	w.cfg.Log.Info("alert sent", zap.String("destination", destination), zap.String("title", title), zap.String("text", text))
	s.Failures, s.RetryAt, s.Told = 0, time.Time{}, level
	if level > 0 {
		s.ToldAt = now
	}
	return s
}
