package worker_test

import (
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
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

// replay replays an open dead letter.
func replay(t *testing.T, replayer *worker.Replayer, letter store.DeadLetter) {
	t.Helper()
	if ended, err := replayer.Replay(t.Context(), letter.ID); err != nil || !ended {
		t.Fatalf("Replay(%d) = %t, %v", letter.ID, ended, err)
	}
}

func TestReplayGivesAllAttempts(t *testing.T) {
	onRedis(t, func(t *testing.T, addr string) {
		f := newFixture(t, addr, time.Second)
		f.serve = func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotFound) }
		f.deliverSeed(t, tasks.TypeCompleted, "vid_1", `,"video_url":"`+f.cdn.URL+`/v.mp4"`)
		f.work(t)
		list := f.checkLetters(t, 1)
		var replays sync.WaitGroup // of several operators
		for range 3 {
			replayer := f.replayer(t, addr)
			replays.Go(func() {
				if _, err := replayer.Replay(t.Context(), list[0].ID); err != nil {
					t.Error(err)
				}
			})
		}
		replays.Wait()
		info := f.state(t, list[0].Task, tasks.QueueMedia)
		policy, err := tasks.PolicyOf(tasks.KindMediaDownload)
		testenv.NoError(t, err)
		if info.State != asynq.TaskStatePending || info.Retried != 0 || info.MaxRetry != policy.Attempts-1 {
			t.Errorf("replayed task is %s, %d of %d retries used; want pending with all attempts", info.State, info.Retried, info.MaxRetry)
		}
		f.checkMedia(t, "vid_1", store.MediaPending, "")
		f.checkLetters(t, 0)
		if ended, err := f.replayer(t, addr).Replay(t.Context(), list[0].ID); err != nil || ended {
			t.Errorf("a replay after the end returns %t, %v", ended, err)
		}
	})
}

func TestReplayVerifiesSignatureAgain(t *testing.T) {
	addr := miniredis.RunT(t).Addr()
	f := newFixture(t, addr, time.Second)
	body := `{"event":"video.created","data":{"job_id":"vid_1"}}`
	ev := tasks.Event{ID: "klingai:1", Source: "klingai", Type: tasks.TypeCreated, Job: tasks.KlingJob("vid_1"), ReceivedAt: time.Now(), Secret: "sha256:0badcafe",
		Headers: signed(t, body), Body: []byte(body)}
	task, err := tasks.RecordEvent(ev)
	testenv.NoError(t, err)
	letter := store.DeadLetter{Task: task, Job: tasks.KlingJob("vid_1"), EventID: ev.ID, Error: "database gone", FailedAt: time.Now()}
	testenv.NoError(t, f.store.Bury(t.Context(), letter))
	letter = f.deadLetters(t)[0]
	if _, err := f.replayer(t, addr, "wrong").Replay(t.Context(), letter.ID); err == nil || !strings.Contains(err.Error(), "sha256:0badcafe") {
		t.Errorf("replay without the secret: %v, want an error with the fingerprint of the secret", err)
	}
	f.checkLetters(t, 1)
	replay(t, f.replayer(t, addr, "wrong", "right"), letter)
	// Losing the queue now does not lose the replay.
	testenv.NoError(t, f.redis.FlushAll(t.Context()).Err())
	f.sweep(t)
	f.work(t)
	f.checkJob(t, "vid_1", tasks.StatusCreated)
}

// blind cannot read any event, as an earlier version.
type blind struct{ source.Source }

func (blind) Update(tasks.Event) (*tasks.JobUpdate, error) {
	return nil, tasks.Permanent(errors.New("no such shape"))
}

func TestLaterVersionReadsAnEventOfUnknownShape(t *testing.T) {
	addr := miniredis.RunT(t).Addr()
	f := newFixture(t, addr, time.Second)
	reads := f.cfg.Sources
	f.cfg.Sources = map[string]source.Source{"klingai": blind{reads["klingai"]}}
	f.renew(t)
	body := `{"event":"video.failed","data":{"job_id":"vid_1"}}`
	f.deliver(t, "klingai", "", source.TypeUnreadable, "", body)
	f.work(t)
	letter := f.checkLetters(t, 1)[0]
	if letter.Task.Kind != tasks.KindEventRecord || !strings.Contains(letter.Error, "no such shape") {
		t.Errorf("dead letter of %s: %s", letter.Task.Kind, letter.Error)
	}
	kept, err := f.store.Event(t.Context(), letter.EventID)
	if err != nil || string(kept.Body) != body || !kept.ProcessedAt.IsZero() {
		t.Errorf("kept %+v, %v", kept, err)
	}
	f.cfg.Sources = reads
	f.renew(t)
	replay(t, f.replayer(t, addr, webhookSecret), letter)
	f.work(t)
	f.checkLetters(t, 0)
	f.checkJob(t, "vid_1", tasks.StatusFailed)
	if kept, err = f.store.Event(t.Context(), letter.EventID); err != nil || kept.Type != tasks.TypeFailed || kept.Job.ID != "vid_1" || kept.ProcessedAt.IsZero() {
		t.Errorf("after the replay the event is %+v, %v", kept, err)
	}
	if sent := f.sent(); len(sent) != 1 || sent[0] != "video.failed vid_1" {
		t.Errorf("sent %q", sent)
	}
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
			replay(t, f.replayer(t, addr, webhookSecret), f.deadLetters(t)[0])
			f.sweep(t)
			f.checkLetters(t, 0)
			f.work(t)
			f.checkJob(t, "vid_1", tasks.StatusCreated)
		})
	}
}

func TestDiscardedDeadLetterStaysDiscarded(t *testing.T) {
	for kind, wantError := range map[string]string{
		"event:record":    "",
		"event:record:v2": "unknown task kind", // not handled as event:record
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
			if ended, err := f.replayer(t, addr).Discard(t.Context(), letter.ID); err != nil || !ended {
				t.Errorf("Discard = %t, %v", ended, err)
			}
			f.sweep(t)
			f.checkLetters(t, 0)
			if _, err := f.inspector.GetTaskInfo(tasks.QueueEvents, letter.Task.ID); err == nil {
				t.Error("the discarded task is still in the queue")
			}
		})
	}
}
