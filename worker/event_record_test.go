package worker_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/hibiken/asynq"

	"github.com/klinghook/klinghook/internal/store"
	"github.com/klinghook/klinghook/internal/testenv"
	"github.com/klinghook/klinghook/tasks"
)

// TestPoisonAmongEvents holds that an event which the database refuses fails for
// itself only, whichever others were recorded with it.
func TestPoisonAmongEvents(t *testing.T) {
	f := newFixtureOn(t, miniredis.RunT(t).Addr(), testenv.Postgres(t), time.Second)
	const good, bad = 60, 3
	var poison []tasks.Task
	for i := range good + bad {
		job := fmt.Sprint("vid_", i)
		body := `{"event":"video.processing","timestamp":"2025-01-15T10:30:00Z","data":{"job_id":"` + job + `"}}`
		if i%(good/bad) == 0 && len(poison) < bad {
			poison = append(poison, f.deliver(t, "klingai", "", "no\x00text", job, body))
			continue
		}
		f.deliver(t, "klingai", "", tasks.TypeProcessing, job, body)
	}
	f.work(t)
	events, err := f.store.Events(t.Context(), store.EventFilter{})
	if err != nil {
		t.Fatal(err)
	}
	for _, ev := range events {
		if ev.ProcessedAt.IsZero() {
			t.Errorf("event %s is not processed", ev.ID)
		}
	}
	jobs, err := f.store.Jobs(t.Context(), store.JobFilter{})
	if err != nil || len(events) != good || len(jobs) != good {
		t.Errorf("%d events and %d jobs, %v; want %d", len(events), len(jobs), err, good)
	}
	for _, task := range poison {
		if info := f.state(t, task, tasks.QueueEvents); info.State != asynq.TaskStateRetry || !strings.Contains(info.LastErr, "invalid byte sequence") {
			t.Errorf("the poison is %s because of %q, want that it waits for another attempt because of what the database said", info.State, info.LastErr)
		}
	}
}

// TestBatchComesBack holds that what a batch of events owes comes back into an empty
// queue: the process died when they were recorded, and before anything was enqueued.
func TestBatchComesBack(t *testing.T) {
	f := newFixture(t, miniredis.RunT(t).Addr(), time.Second)
	var list []store.Recording
	for i := range 3 {
		job := fmt.Sprint("vid_", i)
		ev := tasks.Event{ID: "klingai:" + job, Source: "klingai", Type: tasks.TypeCompleted, JobID: job, ReceivedAt: time.Now(),
			Body: []byte(`{"event":"video.completed","data":{"job_id":"` + job + `","video_url":"` + f.cdn.URL + `/v.mp4"}}`)}
		update, err := f.cfg.Sources["klingai"].Update(ev)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, store.Recording{Event: ev, Update: update, Destinations: f.cfg.Notify.Names()})
	}
	owed, err := f.store.Record(t.Context(), list, time.Now())
	if err != nil || owed[0].Settled || len(owed[0].Media) == 0 || len(owed[0].Notifications) == 0 {
		t.Fatalf("owed is %+v, %v; want a file and a notification", owed, err)
	}
	if err := f.worker.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	f.work(t)
	for _, r := range list {
		f.checkVideo(t, r.Event.JobID, "")
		if ev, err := f.store.Event(t.Context(), r.Event.ID); err != nil || ev.ProcessedAt.IsZero() {
			t.Errorf("event %s is processed at %v, %v; want that it is", ev.ID, ev.ProcessedAt, err)
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.forwarded) != len(list) {
		t.Errorf("%d messages forwarded, want %d", len(f.forwarded), len(list))
	}
}
