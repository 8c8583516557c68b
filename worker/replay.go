package worker

import (
	"context"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/klinghook/klinghook/internal/source"
	"github.com/klinghook/klinghook/internal/store"
	"github.com/klinghook/klinghook/tasks"
)

// Replayer replays or discards dead letters. It is for commands; it runs no tasks.
type Replayer struct {
	Redis redis.UniversalClient
	Store *store.Store
	// EventShards is the number of queues that events are spread over; default 1.
	EventShards int
	// Sources are the webhook protocols by name, with their secrets: an event is verified
	// again before it is replayed.
	Sources map[string]source.Source
	// Now is the clock.
	Now func() time.Time
}

// Replay enqueues a dead letter's task again, with all its attempts, and marks the dead
// letter as replayed. Replaying it again, or while its task is queued, changes nothing.
// It fails for an event whose signature is no longer valid, for example because its
// secret was removed from the settings.
func (r *Replayer) Replay(ctx context.Context, letter store.DeadLetter) error {
	if err := r.replay(ctx, letter); err != nil {
		return fmt.Errorf("replay dead letter %d: %w", letter.ID, err)
	}
	return nil
}

func (r *Replayer) replay(ctx context.Context, letter store.DeadLetter) error {
	if letter.State != store.DeadLetterDead {
		return nil
	}
	if err := r.reopen(ctx, letter.Task); err != nil {
		return err
	}
	if _, err := newQueue(r.Redis, r.EventShards).enqueueAgain(ctx, letter.Task); err != nil {
		return err
	}
	return r.Store.EndDeadLetter(ctx, letter, store.DeadLetterReplayed, r.Now())
}

// Discard ends a dead letter and leaves its work undone.
func (r *Replayer) Discard(ctx context.Context, letter store.DeadLetter) error {
	if err := newQueue(r.Redis, r.EventShards).forget(letter.Task); err != nil {
		return fmt.Errorf("discard dead letter %d: %w", letter.ID, err)
	}
	return r.Store.EndDeadLetter(ctx, letter, store.DeadLetterDiscarded, r.Now())
}

// reopen makes the store owe a task's work again, so that losing the queue does not
// lose the replay.
func (r *Replayer) reopen(ctx context.Context, task tasks.Task) error {
	switch task.Kind {
	case tasks.KindEventRecord:
		event, err := tasks.DecodeEvent(task.Payload)
		if err != nil {
			return err
		}
		if err := r.verify(event); err != nil {
			return err
		}
		return r.Store.KeepEvent(ctx, event)
	case tasks.KindMediaDownload:
		payload, err := tasks.DecodeMediaDownload(task.Payload)
		if err != nil {
			return err
		}
		return r.Store.ReopenMedia(ctx, payload.Job, payload.Name, r.Now())
	case tasks.KindMediaFind:
		job, err := tasks.DecodeMediaFind(task.Payload)
		if err != nil {
			return err
		}
		return r.Store.ReopenNoMedia(ctx, job, r.Now())
	case tasks.KindNotifySend:
		payload, err := tasks.DecodeNotifySend(task.Payload)
		if err != nil {
			return err
		}
		return r.Store.ReopenNotification(ctx, payload.NotificationID, r.Now())
	case tasks.KindRejectionKeep:
		return nil
	}
	return fmt.Errorf("unknown task kind %q", task.Kind)
}

// verify checks an event's signature again, with the stored bytes and headers and its
// time of arrival.
func (r *Replayer) verify(event tasks.Event) error {
	src, ok := r.Sources[event.Source]
	if !ok {
		return fmt.Errorf("verify event %s: unknown protocol %q", event.ID, event.Source)
	}
	_, err := src.Verify(headersOf(event), event.Body, event.ReceivedAt)
	if err != nil && event.Secret == "" {
		return fmt.Errorf("verify event %s again: %w; it was accepted while verification was off: discard it, or have it sent again", event.ID, err)
	}
	if err != nil {
		return fmt.Errorf("verify event %s again: %w; it was accepted with the secret %q", event.ID, err, event.Secret)
	}
	return nil
}
