package worker_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/hibiken/asynq"

	"github.com/klinghook/klinghook/internal/testenv"
	"github.com/klinghook/klinghook/tasks"
)

func TestMessagesBeyondTheRateComeLater(t *testing.T) {
	onRedis(t, func(t *testing.T, addr string) {
		f := newFixture(t, addr, time.Second)
		f.cfg.Notify = f.notifier(t, 3)
		f.renew(t)
		const jobs = 6
		for i := range jobs {
			f.deliverSeed(t, tasks.TypeFailed, fmt.Sprintf("vid_%d", i), `,"error":"no"`)
		}
		f.start(t)
		sent := func() int {
			f.mu.Lock()
			defer f.mu.Unlock()
			return len(f.forwarded)
		}
		f.eventually(t, "all messages", func() bool { return sent() == jobs })
		var done []*asynq.TaskInfo
		f.eventually(t, "all tasks to be done", func() (all bool) {
			var err error
			done, err = f.inspector.ListCompletedTasks(tasks.QueueNotify)
			return err == nil && len(done) == jobs
		})
		for _, info := range done {
			if info.Retried != 0 {
				t.Errorf("%s has used %d attempts for nothing", info.ID, info.Retried)
			}
		}
		attempts := f.metrics(t)
		postponed, failed := attempts["klinghook_task_attempts_total notify:send put_off"], attempts["klinghook_task_attempts_total notify:send retry"]
		if postponed == 0 || failed != 0 {
			t.Errorf("%g attempts were postponed and %g failed, want some and none", postponed, failed)
		}
	})
}

func TestLastAttemptIgnoresTheRate(t *testing.T) {
	onRedis(t, func(t *testing.T, addr string) {
		f := newFixture(t, addr, time.Second)
		f.cfg.Notify = f.notifier(t, 0.001)
		f.renew(t)
		if wait := f.cfg.Notify.Turn(f.cfg.Notify.Names()[0]); wait != 0 { // the only one for a long time
			t.Fatalf("the first turn comes after %s", wait)
		}
		f.deliverSeed(t, tasks.TypeFailed, "vid_1", `,"error":"no"`)
		f.start(t)
		var waiting []*asynq.TaskInfo
		f.eventually(t, "the message to be put off", func() bool {
			var err error
			waiting, err = f.inspector.ListRetryTasks(tasks.QueueNotify)
			return err == nil && len(waiting) == 1
		})
		testenv.NoError(t, f.inspector.DeleteTask(tasks.QueueNotify, waiting[0].ID))
		last := asynq.NewTask(waiting[0].Type, waiting[0].Payload)
		_, err := asynq.NewClientFromRedisClient(f.redis).EnqueueContext(t.Context(), last, asynq.Queue(tasks.QueueNotify), asynq.MaxRetry(0))
		testenv.NoError(t, err)
		f.eventually(t, "the message", func() bool {
			f.mu.Lock()
			defer f.mu.Unlock()
			return len(f.forwarded) == 1
		})
	})
}
