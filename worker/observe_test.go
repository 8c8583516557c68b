package worker_test

import (
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/klinghook/klinghook/internal/store"
	"github.com/klinghook/klinghook/tasks"
	"github.com/klinghook/klinghook/worker"
)

// recorder is an observer that records all calls.
type recorder struct {
	mu        sync.Mutex // guards the fields below
	attempts  []worker.Attempt
	downloads []string            // "<job>/<name> from <host>"
	progress  map[string][2]int64 // the last received and total
}

func (a *recorder) Downloading(job tasks.JobKey, name, host string) func(received, total int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	key := job.String() + "/" + name
	a.downloads = append(a.downloads, key+" from "+host)
	return func(received, total int64) {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.progress[key] = [2]int64{received, total}
	}
}

func (a *recorder) Attempted(attempt worker.Attempt) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.attempts = append(a.attempts, attempt)
}

func TestObserverReplacesTheLog(t *testing.T) {
	f := newFixture(t, miniredis.RunT(t).Addr(), time.Second)
	serve := f.serve
	f.serve = func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/gone.mp4" {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		serve(w, r)
	}
	a := &recorder{progress: map[string][2]int64{}}
	f.cfg.Observer = a
	f.renew(t)
	f.deliverSeed(t, tasks.TypeCompleted, "vid_1", `,"video_url":"`+f.cdn.URL+`/v.mp4?sig=hush"`)
	f.deliverSeed(t, tasks.TypeFailed, "vid_2", `,"error":"refused","video_url":""`)
	f.deliverSeed(t, tasks.TypeCompleted, "vid_3", `,"video_url":"`+f.cdn.URL+`/gone.mp4?sig=hush"`)
	f.work(t)

	destination := f.cfg.Notify.Names()[0]
	record := func(job, event string) worker.Attempt {
		return worker.Attempt{Kind: tasks.KindEventRecord, Job: tasks.KlingJob(job), EventType: event, Number: 1, Last: 60}
	}
	notify := func(job, event string) worker.Attempt {
		return worker.Attempt{Kind: tasks.KindNotifySend, Job: tasks.KlingJob(job), Destination: destination, Message: event, Number: 1, Last: 72}
	}
	failed := record("vid_2", tasks.TypeFailed)
	failed.JobError = "refused"
	want := []worker.Attempt{
		record("vid_1", tasks.TypeCompleted), failed, record("vid_3", tasks.TypeCompleted),
		{Kind: tasks.KindMediaDownload, Job: tasks.KlingJob("vid_1"), Media: "video", Size: int64(len(video)), Location: filepath.Join(f.bucket, "vid_1", "video.mp4"), Number: 1, Last: 30},
		{Kind: tasks.KindMediaDownload, Job: tasks.KlingJob("vid_3"), Media: "video", Outcome: worker.GivenUp, Number: 1, Last: 30},
		notify("vid_1", tasks.TypeCompleted), notify("vid_2", tasks.TypeFailed), notify("vid_3", tasks.TypeCompleted),
	}
	less := func(x, y worker.Attempt) bool { return string(x.Kind)+x.Job.ID < string(y.Kind)+y.Job.ID }
	if diff := cmp.Diff(want, a.attempts, cmpopts.SortSlices(less), cmpopts.IgnoreFields(worker.Attempt{}, "Took", "Err", "EventID")); diff != "" {
		t.Errorf("attempts (-want +got):\n%s", diff)
	}
	for _, attempt := range a.attempts {
		if (attempt.Err != nil) != (attempt.Outcome == worker.GivenUp) || attempt.Took <= 0 {
			t.Errorf("%+v", attempt)
		}
	}
	if diff := cmp.Diff([]string{"vid_1/video from 127.0.0.1", "vid_3/video from 127.0.0.1"}, a.downloads, cmpopts.SortSlices(func(x, y string) bool { return x < y })); diff != "" {
		t.Errorf("downloads (-want +got):\n%s", diff)
	}
	if got, size := a.progress["vid_1/video"], int64(len(video)); got != [2]int64{size, size} {
		t.Errorf("the last progress is %d, want all of %d", got, size)
	}
	for _, entry := range f.logs.All() {
		if entry.ContextMap()["kind"] != nil {
			t.Errorf("the log has an attempt: %s %v", entry.Message, entry.ContextMap())
		}
	}
}

func TestAttemptsOfADoneTaskAreKept(t *testing.T) {
	f := newFixture(t, miniredis.RunT(t).Addr(), time.Second)
	var asked atomic.Int32
	serve := f.serve
	f.serve = func(w http.ResponseWriter, r *http.Request) {
		if asked.Add(1) == 1 {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		serve(w, r)
	}
	f.completedAt(t, "30", "vid_1", "/v.mp4")
	f.work(t)
	f.runRetries(t, tasks.QueueMedia)
	f.renew(t)
	f.work(t)
	f.checkMedia(t, "vid_1", store.MediaStored, "")
	attempts, err := f.store.TaskAttemptsOf(t.Context(), tasks.KlingJob("vid_1"))
	if err != nil || len(attempts) != 2 || attempts[0].Number != 1 || !strings.Contains(attempts[0].Error, "503") || attempts[0].Duration <= 0 {
		t.Fatalf("attempts %+v, %v; want two, the first with status 503", attempts, err)
	}
	if stored := attempts[1]; stored.TaskID != attempts[0].TaskID || stored.Error != "" || stored.Size != int64(len(video)) || stored.Duration <= 0 {
		t.Errorf("the second attempt is %+v, want the stored file", stored)
	}
}

func TestDeadLetterFailsWhenItsLastAttemptEnds(t *testing.T) {
	f := newFixture(t, miniredis.RunT(t).Addr(), time.Second)
	f.serve = func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusGone) }
	f.completedAt(t, "30", "vid_1", "/v.mp4")
	f.work(t)
	letter := f.checkLetters(t, 1)[0]
	if last := letter.Failures[0]; !letter.FailedAt.After(last.At) || !letter.FailedAt.Equal(last.EndedAt().Truncate(time.Microsecond)) {
		t.Errorf("failed at %s, want the end of %+v", letter.FailedAt, last)
	}
}
