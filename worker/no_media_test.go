package worker_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"

	"github.com/klinghook/klinghook/internal/store"
	"github.com/klinghook/klinghook/internal/testenv"
	"github.com/klinghook/klinghook/tasks"
	"github.com/klinghook/klinghook/worker/notify"
)

// checkNoMedia checks that a job has an open dead letter and shows why it has no media.
func (f *fixture) checkNoMedia(t *testing.T, id, reason, why string) store.DeadLetter {
	t.Helper()
	letter := f.checkLetters(t, 1)[0]
	if letter.Task.Kind != tasks.KindMediaFind || letter.Job != tasks.KlingJob(id) || !strings.Contains(letter.Error, reason+"; "+why) {
		t.Errorf("dead letter %s of %s: %s; want %q, %q", letter.Task.Kind, letter.Job, letter.Error, reason, why)
	}
	job, err := f.store.Job(t.Context(), tasks.KlingJob(id))
	if err != nil || job.Status != tasks.StatusCompleted || job.NoMedia != reason {
		t.Errorf("job is %s without media for %q, %v; want %q", job.Status, job.NoMedia, err, reason)
	}
	return letter
}

func TestWithoutCredentialsAJobWithoutMediaIsADeadLetterAtOnce(t *testing.T) {
	addr := miniredis.RunT(t).Addr()
	f := newFixture(t, addr, time.Second)
	f.deliverSeed(t, tasks.TypeCompleted, "vid_1", `,"video_url":""`)
	f.work(t)
	const reason = `"data.video_url" is empty`
	letter := f.checkNoMedia(t, "vid_1", reason, "set KLINGAI_API_KEY")
	if sent := f.sent(); !slices.Equal(sent, []string{"video.completed vid_1"}) {
		t.Errorf("sent %q", sent)
	}
	replay(t, f.replayer(t, addr, webhookSecret), letter)
	f.renew(t)
	f.work(t)
	again := f.checkNoMedia(t, "vid_1", reason, "set KLINGAI_API_KEY")
	if again.ID == letter.ID {
		t.Error("the replay did not fail again")
	}
	f.completedAt(t, "31", "vid_1", "/v.mp4")
	f.renew(t)
	f.work(t)
	f.checkLetters(t, 0)
	f.checkMedia(t, "vid_1", store.MediaStored, "")
}

func TestMissingMediaIsLookedUpAtOnce(t *testing.T) {
	w := newLookupFixture(t, miniredis.RunT(t).Addr())
	w.kling.tasks["881"] = fmt.Sprintf(completedBody, w.cdn.URL)
	w.deliver(t, "klingai-official", "msg_1", tasks.TypeCompleted, "881", `{"id":"881","status":"succeeded","outputs":[]}`)
	w.work(t)
	w.checkLetters(t, 0)
	w.pass(10 * time.Second) // deliver uses the real clock
	w.lookUp(t)
	w.checkAsked(t, "881")
	w.work(t)
	w.checkMedia(t, "881", store.MediaStored, "")
	w.pass(24 * time.Hour)
	w.lookUp(t)
	w.checkAsked(t)
	if sent := w.sent(); !slices.Equal(sent, []string{"video.completed 881"}) {
		t.Errorf("sent %q", sent)
	}
}

func TestMissingMediaIsGivenUpWithinADay(t *testing.T) {
	t.Parallel()
	addr := miniredis.RunT(t).Addr()
	w := newLookupFixture(t, addr)
	w.kling.tasks["881"] = `{"id":"881","status":"succeeded","outputs":[{"type":"video","url":""}]}`
	w.deliver(t, "klingai-official", "msg_1", tasks.TypeCompleted, "881", `{"id":"881","status":"succeeded"}`)
	w.work(t)
	ask := func() (times int) {
		for range 24 * 60 {
			w.lookUp(t)
			if asked := w.kling.taken(); len(asked) > 0 {
				times += len(asked)
				w.work(t)
			}
			w.pass(time.Minute)
		}
		return times
	}
	if times := ask(); times != 10 {
		t.Errorf("asked %d times, want 10", times)
	}
	letter := w.checkNoMedia(t, "881", "output 1 (video) has no link", "Kling has none either")
	if times := ask(); times != 0 {
		t.Errorf("asked %d times later", times)
	}
	w.kling.tasks["881"] = fmt.Sprintf(completedBody, w.cdn.URL)
	replayer := w.replayer(t, addr, webhookSecret)
	replayer.Now = w.clock
	replay(t, replayer, letter)
	w.lookUp(t)
	w.checkAsked(t, "881")
	w.work(t)
	w.checkLetters(t, 0)
	w.checkMedia(t, "881", store.MediaStored, "")
}

func TestMissingMediaIsGivenUpEvenIfKlingIsDown(t *testing.T) {
	w := newLookupFixture(t, miniredis.RunT(t).Addr())
	w.kling.err = errors.New("connection refused")
	w.deliver(t, "klingai-official", "msg_1", tasks.TypeCompleted, "881", `{"id":"881","status":"succeeded","outputs":[{"type":"mesh","url":"https://x/1"}]}`)
	w.work(t)
	for range 26 * 4 {
		_ = w.worker.LookUp(t.Context()) // Kling's error
		w.pass(15 * time.Minute)
	}
	w.checkNoMedia(t, "881", `output 1 has the unknown type "mesh"`, "Kling gave no usable answer")
}

const testBody = `{"id":"881","status":"submitted","message":"","create_time":1736937000000,"update_time":1736937000000,"outputs":[],"billing":[]}`

// notifyAll forwards created, lost and test events to the receiver.
func (w *lookupFixture) notifyAll(t *testing.T) {
	t.Helper()
	n, err := notify.New(notify.Config{
		ForwardURLs: []string{w.receiver}, ForwardSecret: "whsec_c2VjcmV0LW9mLXRoZS10ZXN0", Events: []string{tasks.TypeCreated, tasks.TypeLost, tasks.TypeTest},
	})
	testenv.NoError(t, err)
	t.Cleanup(n.Close)
	w.cfg.Notify = n
}

func TestTestCallbackIsNeverLost(t *testing.T) {
	t.Parallel()
	for name, asks := range map[string]bool{"with credentials": true, "without": false} {
		t.Run(name, func(t *testing.T) {
			w := newLookupFixture(t, miniredis.RunT(t).Addr())
			w.notifyAll(t)
			if !asks {
				w.cfg.Lookups.Kling = nil
			}
			look := func(want ...string) {
				t.Helper()
				if asks {
					w.lookUp(t)
				}
				w.checkAsked(t, want...)
				w.work(t)
			}
			w.deliver(t, "klingai-official", "msg_1", tasks.TypeCreated, "881", testBody)
			look()
			if job := w.job(t, "881"); !job.TestCallback || job.Status != tasks.StatusCreated {
				t.Errorf("job is %s, test callback %t", job.Status, job.TestCallback)
			}
			w.pass(2 * time.Minute)
			if asks {
				look("881")
				w.checkJob(t, "881", tasks.StatusTest)
			}
			for range 10 {
				w.pass(24 * time.Hour)
				look()
			}
			if job := w.job(t, "881"); !job.TestCallback || job.Status == tasks.StatusLost {
				t.Errorf("job is %s, test callback %t", job.Status, job.TestCallback)
			}
			w.checkLetters(t, 0)
			if sent := w.sent(); len(sent) > 0 {
				t.Errorf("sent %q", sent)
			}
			w.deliver(t, "klingai-official", "msg_2", tasks.TypeProcessing, "881", `{"id":"881","status":"processing","update_time":1736937000001}`)
			w.work(t)
			if job := w.job(t, "881"); job.TestCallback || job.Status != tasks.StatusProcessing {
				t.Errorf("job is %s, test callback %t; want processing", job.Status, job.TestCallback)
			}
		})
	}
}

func TestFirstCallbackOfAJobIsNotATestCallback(t *testing.T) {
	w := newLookupFixture(t, miniredis.RunT(t).Addr())
	w.notifyAll(t)
	w.kling.tasks["881"] = testBody // Kling knows it
	w.deliver(t, "klingai-official", "msg_1", tasks.TypeCreated, "881", testBody)
	w.work(t)
	w.pass(2 * time.Minute)
	w.lookUp(t)
	w.checkAsked(t, "881")
	w.work(t)
	if job := w.job(t, "881"); job.TestCallback || job.Status != tasks.StatusCreated {
		t.Errorf("job is %s, test callback %t; want created", job.Status, job.TestCallback)
	}
	if sent := w.sent(); !slices.Equal(sent, []string{"video.created 881"}) {
		t.Errorf("sent %q", sent)
	}
}
