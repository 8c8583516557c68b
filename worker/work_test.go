package worker_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/klinghook/klinghook/internal/store"
	"github.com/klinghook/klinghook/internal/testenv"
	"github.com/klinghook/klinghook/tasks"
)

// TestWorkInThePlaceOfOurs holds that work which is set is what a kind of task is run
// by, and that the others are run as ever.
func TestWorkInThePlaceOfOurs(t *testing.T) {
	f := newFixture(t, testenv.Redis(t).Addr(), time.Second)
	payloads := make(chan []byte, 1)
	f.cfg.Concurrency = map[string]int{tasks.QueueEvents: 1, tasks.QueueRejections: 1}
	f.cfg.Work = map[tasks.Kind]func(context.Context, []byte) error{
		tasks.KindEventRecord: func(_ context.Context, payload []byte) error {
			payloads <- payload
			return nil
		},
	}
	f.renew(t)
	if err := f.worker.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer f.worker.Shutdown()
	f.deliverSeed(t, tasks.TypeCreated, "vid_1", "")
	if ev, err := tasks.DecodeEvent(<-payloads); err != nil || ev.JobID != "vid_1" {
		t.Errorf("it got an event of %q, %v", ev.JobID, err)
	}
	rejection, err := tasks.KeepRejection(tasks.Rejection{ID: "rej_1", ReceivedAt: time.Unix(1, 0).UTC(), Source: "klingai", Reason: "malformed"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.queue.Enqueue(t.Context(), rejection); err != nil {
		t.Fatal(err)
	}
	f.eventually(t, "the rejection", func() bool {
		list, err := f.store.Rejections(t.Context(), store.RejectionFilter{})
		return err == nil && len(list) == 1
	})
	if _, err := f.store.Job(t.Context(), "vid_1"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("the job: %v, want none", err)
	}
}
