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

func TestRefusedEventFailsAlone(t *testing.T) {
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
	testenv.NoError(t, err)
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
			t.Errorf("the refused event is %s because of %q, want retry because of the database", info.State, info.LastErr)
		}
	}
}
