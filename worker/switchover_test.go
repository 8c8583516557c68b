package worker_test

import (
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/hibiken/asynq"

	"github.com/klinghook/klinghook/internal/store"
	"github.com/klinghook/klinghook/internal/testenv"
	"github.com/klinghook/klinghook/tasks"
)

// TestWorkerFollowsASwitchoverOfPostgreSQL makes the first server read-only while its
// connections stay, and then promotes its standby.
func TestWorkerFollowsASwitchoverOfPostgreSQL(t *testing.T) {
	t.Parallel()
	first := testenv.PostgresServer(t)
	second := first.Standby()
	f := newFixtureOn(t, miniredis.RunT(t).Addr(), first.URL(second), 30*time.Second)
	f.start(t)
	stored := func(job string) func() bool {
		return func() bool {
			m, err := f.store.Medium(t.Context(), tasks.KlingJob(job), "video")
			return err == nil && m.State == store.MediaStored
		}
	}
	f.completedAt(t, "30", "before", "/before.mp4")
	f.eventually(t, "the video before", stored("before"))

	first.Exec("ALTER SYSTEM SET default_transaction_read_only = on")
	first.Exec("SELECT pg_reload_conf()")
	f.eventually(t, "readiness to fail", func() bool { return f.store.CheckWritable(t.Context()) != nil })
	f.completedAt(t, "31", "between", "/between.mp4")
	f.eventually(t, "an attempt without a writable server", func() bool { return f.logs.FilterMessage("task will be retried").Len() > 0 })
	second.Promote(first)
	f.completedAt(t, "32", "after", "/after.mp4")
	f.eventually(t, "the video between", stored("between"))
	f.eventually(t, "the video after", stored("after"))
	if err := f.store.CheckWritable(t.Context()); err != nil {
		t.Errorf("not ready after the switchover: %v", err)
	}
	f.checkLetters(t, 0)
}

func TestMissingRowIsRetriedUntilAttemptsRunOut(t *testing.T) {
	f := newFixture(t, miniredis.RunT(t).Addr(), time.Second)
	download, err := tasks.DownloadMedia(tasks.KlingJob("unknown"), "video", "https://cdn.example/v.mp4")
	testenv.NoError(t, err)
	send, err := tasks.SendNotification("unknown", tasks.KlingJob("unknown"))
	testenv.NoError(t, err)
	for _, task := range []tasks.Task{download, send} {
		_, err := f.queue.Enqueue(t.Context(), task)
		testenv.NoError(t, err)
	}
	f.work(t)
	for queue, task := range map[string]tasks.Task{"media": download, "notify": send} {
		if info := f.state(t, task, queue); info.State != asynq.TaskStateRetry {
			t.Errorf("%s is %s (%s), want a retry", task.Kind, info.State, info.LastErr)
		}
	}

	_, err = asynq.NewClientFromRedisClient(f.redis).Enqueue(asynq.NewTask(string(download.Kind), download.Payload),
		asynq.TaskID("last"), asynq.Queue("media"), asynq.MaxRetry(0))
	testenv.NoError(t, err)
	f.renew(t)
	f.work(t)
	if d := f.checkLetters(t, 1)[0]; d.Task.ID != "last" {
		t.Errorf("dead letter %v, want that of the last attempt", d)
	}
}
