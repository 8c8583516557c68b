package worker

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/klinghook/klinghook/internal/source"
	"github.com/klinghook/klinghook/internal/store"
	"github.com/klinghook/klinghook/tasks"
)

// Replayer puts dead letters back into the queue, or lets go of them. It is for
// commands; it runs no tasks.
type Replayer struct {
	Redis redis.UniversalClient
	Store *store.Store
	// EventShards is over how many queues events are spread; default 1.
	EventShards int
	// Sources are the protocols by name, with their secrets: an event is verified
	// again before it is recorded after all.
	Sources map[string]source.Source
	// Now is the clock.
	Now func() time.Time
}

// Replay enqueues a dead letter's task afresh, with all its attempts, and marks
// the dead letter as replayed. Replaying one again, or while its task is in the
// queue, changes nothing. An event whose signature does not hold any more, for
// instance because its secret was taken out of the settings, is not replayed.
func (r *Replayer) Replay(ctx context.Context, d store.DeadLetter) error {
	if err := r.replay(ctx, d); err != nil {
		return fmt.Errorf("replay dead letter %d: %w", d.ID, err)
	}
	return nil
}

func (r *Replayer) replay(ctx context.Context, d store.DeadLetter) error {
	if d.State != store.DeadLetterDead {
		return nil
	}
	if err := r.reopen(ctx, d.Task); err != nil {
		return err
	}
	// Its id must be free: the archive holds it, with one attempt left at most, or
	// the list of what was done.
	if err := tasks.Release(ctx, r.Redis, d.Task); err != nil {
		return err
	}
	if _, err := tasks.NewShardedClient(r.Redis, r.EventShards).Enqueue(ctx, d.Task); err != nil {
		return err
	}
	return r.Store.EndDeadLetter(ctx, d, store.DeadLetterReplayed, r.Now())
}

// Discard lets go of a dead letter: what it was about stays undone.
func (r *Replayer) Discard(ctx context.Context, d store.DeadLetter) error {
	if err := tasks.Unarchive(ctx, r.Redis, d.Task); err != nil {
		return fmt.Errorf("discard dead letter %d: %w", d.ID, err)
	}
	return r.Store.EndDeadLetter(ctx, d, store.DeadLetterDiscarded, r.Now())
}

// reopen makes what a task is about owed again, so that losing the queue now would
// not lose the replay.
func (r *Replayer) reopen(ctx context.Context, t tasks.Task) error {
	switch t.Kind {
	case tasks.KindEventRecord:
		ev, err := tasks.DecodeEvent(t.Payload)
		if err != nil {
			return err
		}
		if err := r.verify(ev); err != nil {
			return err
		}
		// From now on the store owes what follows from it.
		return r.Store.KeepEvent(ctx, ev)
	case tasks.KindMediaDownload:
		p, err := tasks.DecodeMediaDownload(t.Payload)
		if err != nil {
			return err
		}
		return r.Store.ReopenMedia(ctx, p.JobID, p.Name, r.Now())
	case tasks.KindNotifySend:
		p, err := tasks.DecodeNotifySend(t.Payload)
		if err != nil {
			return err
		}
		return r.Store.ReopenNotification(ctx, p.NotificationID, r.Now())
	case tasks.KindRejectionKeep:
		return nil
	}
	return fmt.Errorf("unknown task kind %q", t.Kind)
}

// verify checks an event's signature again, from the bytes and headers that were
// kept and at the time when it arrived.
func (r *Replayer) verify(ev tasks.Event) error {
	src, ok := r.Sources[ev.Source]
	if !ok {
		return fmt.Errorf("verify event %s: there is no protocol %q", ev.ID, ev.Source)
	}
	header := http.Header{}
	for name, value := range ev.Headers {
		header.Set(name, value)
	}
	_, err := src.Verify(header, ev.Body, ev.ReceivedAt)
	if err != nil && ev.Secret == "" {
		return fmt.Errorf("verify event %s again: %w; it was accepted while verification was switched off: discard it, or let it be sent again", ev.ID, err)
	}
	if err != nil {
		return fmt.Errorf("verify event %s again: %w; it was accepted by the secret %q", ev.ID, err, ev.Secret)
	}
	return nil
}
