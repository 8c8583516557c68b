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

// Replayer replays or discards dead letters, and repeats the work of jobs. It is for
// commands and pages; it runs no tasks.
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

// Replay enqueues an open dead letter's task again, with all its attempts, and marks the
// dead letter as replayed. It returns false if the dead letter had ended already.
// Replaying while the task is queued changes nothing. Replay fails for an event whose
// signature is no longer valid, for example because its secret was removed from the
// settings.
func (r *Replayer) Replay(ctx context.Context, id int64) (bool, error) {
	return r.end(ctx, id, "replay", store.DeadLetterReplayed, func(task tasks.Task) error {
		if err := r.reopen(ctx, task); err != nil {
			return err
		}
		_, err := newQueue(r.Redis, r.EventShards).enqueueAgain(ctx, task)
		return err
	})
}

// Discard ends an open dead letter and leaves its work undone. It returns false if the
// dead letter had ended already.
func (r *Replayer) Discard(ctx context.Context, id int64) (bool, error) {
	return r.end(ctx, id, "discard", store.DeadLetterDiscarded, newQueue(r.Redis, r.EventShards).forget)
}

// end ends a dead letter if it is open and act succeeds.
func (r *Replayer) end(ctx context.Context, id int64, action string, state store.DeadLetterState, act func(tasks.Task) error) (bool, error) {
	letters, err := r.Store.DeadLetters(ctx, store.DeadLetterFilter{IDs: []int64{id}})
	if err != nil || len(letters) == 0 {
		return false, err
	}
	if err := act(letters[0].Task); err != nil {
		return false, fmt.Errorf("%s dead letter %d: %w", action, id, err)
	}
	err = r.Store.EndDeadLetter(ctx, letters[0], state, r.Now())
	return err == nil, err
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
		_, err = r.Store.KeepEvent(ctx, event)
		return err
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
