package worker_test

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/google/go-cmp/cmp"
	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"github.com/klinghook/klinghook/internal/source"
	"github.com/klinghook/klinghook/internal/store"
	"github.com/klinghook/klinghook/internal/testenv"
	"github.com/klinghook/klinghook/tasks"
	"github.com/klinghook/klinghook/worker"
)

func (f *fixture) replayer(t *testing.T, addr string, secrets ...string) *worker.Replayer {
	t.Helper()
	rdb := redis.NewClient(&redis.Options{Addr: addr})
	t.Cleanup(func() { _ = rdb.Close() })
	seed, err := source.Protocols()[0].New(secrets)
	testenv.NoError(t, err)
	return &worker.Replayer{Redis: rdb, Store: f.store, Sources: map[string]source.Source{"klingai": seed}, Now: time.Now}
}

func TestReplayGivesAllAttempts(t *testing.T) {
	onRedis(t, func(t *testing.T, addr string) {
		f := newFixture(t, addr, time.Second)
		f.serve = func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotFound) }
		f.deliverSeed(t, tasks.TypeCompleted, "vid_1", `,"video_url":"`+f.cdn.URL+`/v.mp4"`)
		f.work(t)
		list := f.deadLetters(t)
		if len(list) != 1 || list[0].JobID != "vid_1" {
			t.Fatalf("dead letters %+v, want one of vid_1", list)
		}
		replayer := f.replayer(t, addr)
		for range 2 {
			testenv.NoError(t, replayer.Replay(t.Context(), list[0]))
		}
		info := f.state(t, list[0].Task, tasks.QueueMedia)
		policy, err := tasks.PolicyOf(tasks.KindMediaDownload)
		testenv.NoError(t, err)
		if info.State != asynq.TaskStatePending || info.Retried != 0 || info.MaxRetry != policy.Attempts-1 {
			t.Errorf("replayed task is %s, %d of %d retries used; want pending with all attempts", info.State, info.Retried, info.MaxRetry)
		}
		f.checkMedia(t, "vid_1", store.MediaPending, "")
		if left := f.deadLetters(t); len(left) != 0 {
			t.Errorf("%d dead letters left, want none", len(left))
		}
	})
}

func TestReplayVerifiesSignatureAgain(t *testing.T) {
	addr := miniredis.RunT(t).Addr()
	f := newFixture(t, addr, time.Second)
	body := `{"event":"video.created","data":{"job_id":"vid_1"}}`
	ev := tasks.Event{ID: "klingai:1", Source: "klingai", Type: tasks.TypeCreated, JobID: "vid_1", ReceivedAt: time.Now(), Secret: "sha256:0badcafe",
		Headers: signed(t, body), Body: []byte(body)}
	task, err := tasks.RecordEvent(ev)
	testenv.NoError(t, err)
	letter := store.DeadLetter{Task: task, JobID: "vid_1", EventID: ev.ID, Error: "database gone", FailedAt: time.Now()}
	testenv.NoError(t, f.store.Bury(t.Context(), letter))
	letter = f.deadLetters(t)[0]
	if err := f.replayer(t, addr, "wrong").Replay(t.Context(), letter); err == nil || !strings.Contains(err.Error(), "sha256:0badcafe") {
		t.Errorf("replay without the secret: %v, want an error with the fingerprint of the secret", err)
	}
	if len(f.deadLetters(t)) != 1 {
		t.Error("the dead letter has ended although it was not replayed")
	}
	testenv.NoError(t, f.replayer(t, addr, "wrong", "right").Replay(t.Context(), letter))
	// Losing the queue now does not lose the replay.
	testenv.NoError(t, f.redis.FlushAll(t.Context()).Err())
	f.sweep(t)
	f.work(t)
	if _, err := f.store.Job(t.Context(), "vid_1"); err != nil {
		t.Errorf("the replayed event was not recorded: %v", err)
	}
}

func TestConcurrentReplaysEnqueueOnce(t *testing.T) {
	onRedis(t, func(t *testing.T, addr string) {
		f := newFixture(t, addr, time.Second)
		const n = 20
		for i := range n {
			f.deliverSeed(t, tasks.TypeCreated, fmt.Sprint("vid_", i), "")
		}
		_, err := f.inspector.ArchiveAllPendingTasks(tasks.QueueEvents)
		testenv.NoError(t, err)
		f.sweep(t)
		list := f.deadLetters(t)
		var wg sync.WaitGroup
		for range 3 {
			replayer := f.replayer(t, addr, webhookSecret)
			wg.Go(func() {
				for _, d := range list {
					if err := replayer.Replay(t.Context(), d); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		info, err := f.inspector.GetQueueInfo(tasks.QueueEvents)
		if err != nil || info.Pending != n || info.Archived != 0 {
			t.Errorf("%d pending, %d archived, %v; want the %d pending", info.Pending, info.Archived, err, n)
		}
		if got := f.letterStates(t)[tasks.KindEventRecord]; len(got) != n || slices.Contains(got, store.DeadLetterDead) {
			t.Errorf("dead letters are %s, want each replayed once", got)
		}
	})
}

func TestReplayRunsAlthoughRedisHasTheID(t *testing.T) {
	for _, state := range []string{"completed", "archived"} {
		t.Run(state, func(t *testing.T) {
			addr := miniredis.RunT(t).Addr()
			f := newFixture(t, addr, time.Second)
			task := f.deliverSeed(t, tasks.TypeCreated, "vid_1", "")
			testenv.NoError(t, f.inspector.ArchiveTask(tasks.QueueEvents, task.ID))
			f.sweep(t)
			if err := errors.Join(f.redis.ZRem(t.Context(), "asynq:{events}:archived", task.ID).Err(),
				f.redis.HSet(t.Context(), "asynq:{events}:t:"+task.ID, "state", state).Err()); err != nil {
				t.Fatal(err)
			}
			testenv.NoError(t, f.replayer(t, addr, webhookSecret).Replay(t.Context(), f.deadLetters(t)[0]))
			f.sweep(t)
			if open := f.deadLetters(t); len(open) != 0 {
				t.Errorf("%d dead letters after the replay, want none", len(open))
			}
			f.work(t)
			if _, err := f.store.Job(t.Context(), "vid_1"); err != nil {
				t.Errorf("the replayed event was not recorded: %v", err)
			}
		})
	}
}

func TestReplayThatFailsMakesAnotherDeadLetter(t *testing.T) {
	addr := miniredis.RunT(t).Addr()
	f := newFixture(t, addr, time.Second)
	f.deliver(t, "klingai", "", tasks.TypeCreated, "vid_1", "not JSON")
	for range 2 {
		f.work(t)
		f.renew(t)
		testenv.NoError(t, f.replayer(t, addr, webhookSecret).Replay(t.Context(), f.deadLetters(t)[0]))
	}
	f.work(t)
	want := []store.DeadLetterState{store.DeadLetterReplayed, store.DeadLetterReplayed, store.DeadLetterDead}
	if diff := cmp.Diff(want, f.letterStates(t)[tasks.KindEventRecord]); diff != "" {
		t.Errorf("dead letters (-want +got):\n%s", diff)
	}
}

func TestDiscardedDeadLetterStaysDiscarded(t *testing.T) {
	for kind, wantError := range map[string]string{
		"event:record":    "",
		"event:record:v2": "unknown task kind", // not that of event:record
	} {
		t.Run(kind, func(t *testing.T) {
			addr := miniredis.RunT(t).Addr()
			f := newFixture(t, addr, time.Second)
			task := asynq.NewTask(kind, []byte("not JSON"))
			_, err := asynq.NewClientFromRedisClient(f.redis).EnqueueContext(t.Context(), task, asynq.TaskID("odd"), asynq.Queue(tasks.QueueEvents))
			testenv.NoError(t, err)
			f.work(t)
			letter := f.deadLetters(t)[0]
			if info := f.state(t, letter.Task, tasks.QueueEvents); info.State != asynq.TaskStateArchived || !strings.Contains(info.LastErr, wantError) {
				t.Errorf("task is %s (%s), want archived with %q", info.State, info.LastErr, wantError)
			}
			testenv.NoError(t, f.replayer(t, addr).Discard(t.Context(), letter))
			f.sweep(t)
			if left := f.deadLetters(t); len(left) != 0 {
				t.Errorf("%d dead letters after a sweep, want none", len(left))
			}
			if _, err := f.inspector.GetTaskInfo(tasks.QueueEvents, letter.Task.ID); err == nil {
				t.Error("the discarded task is still in the queue")
			}
		})
	}
}
