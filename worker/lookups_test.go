package worker_test

import (
	stdcmp "cmp"
	"context"
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

	"github.com/klinghook/klinghook/internal/kling"
	"github.com/klinghook/klinghook/internal/source"
	"github.com/klinghook/klinghook/internal/store"
	"github.com/klinghook/klinghook/internal/testenv"
	"github.com/klinghook/klinghook/tasks"
	"github.com/klinghook/klinghook/worker"
)

// fakeKling answers from its fields.
type fakeKling struct {
	mu sync.Mutex // guards the fields below
	// tasks and legacy are the raw jobs of both APIs by id.
	tasks, legacy map[string]string
	err           error
	// troubles has errors by legacy id; names has ids by external id.
	troubles map[string]error
	names    map[string]string
	// answer, if set, returns the answer to the nth question.
	answer    func(n int) string
	questions int
	// asked are the ids of each call, joined by "+", after "legacy " for the legacy API.
	asked []string
}

func (k *fakeKling) Jobs(_ context.Context, ids ...string) ([]kling.Answer, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.asked = append(k.asked, strings.Join(ids, "+"))
	var jobs []kling.Answer
	for _, id := range ids {
		if raw, ok := k.tasks[id]; ok {
			jobs = append(jobs, klingJob(id, kling.KindTasks, raw))
		}
	}
	return jobs, k.err
}

func (k *fakeKling) Job(_ context.Context, id string, kinds ...kling.JobKind) (kling.Answer, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.answer != nil {
		k.asked = append(k.asked, id)
		k.questions++
		return klingJob(id, kling.KindTasks, k.answer(k.questions)), nil
	}
	jobs, kind := k.tasks, kling.KindTasks
	if len(kinds) == 1 && kinds[0] == kling.KindTasks {
		k.asked = append(k.asked, id)
	} else {
		k.asked = append(k.asked, "legacy "+id)
		jobs, kind = k.legacy, kling.KindText2Video
	}
	if err := stdcmp.Or(k.troubles[id], k.err); err != nil {
		return kling.Answer{}, err
	}
	id = stdcmp.Or(k.names[id], id)
	if raw, ok := jobs[id]; ok {
		return klingJob(id, kind, raw), nil
	}
	return kling.Answer{}, kling.ErrNotFound
}

func klingJob(id string, kind kling.JobKind, raw string) kling.Answer {
	job := kling.Answer{ID: id, Kind: kind, Raw: []byte(raw), Status: tasks.StatusProcessing, KlingStatus: "processing"}
	if strings.Contains(raw, "succe") {
		job.Status = tasks.StatusCompleted
	}
	if task, err := source.ReadTask([]byte(raw)); err == nil {
		job.Outputs, job.Missing = task.Outputs, task.Missing
	}
	return job
}

// taken returns and clears asked.
func (k *fakeKling) taken() []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	asked := k.asked
	k.asked = nil
	return asked
}

// checkAsked checks the calls to Kling since the last check.
func (w *lookupFixture) checkAsked(t *testing.T, want ...string) {
	t.Helper()
	if asked := w.kling.taken(); !slices.Equal(asked, want) {
		t.Errorf("asked %q, want %q", asked, want)
	}
}

// lookupFixture is a worker with a fake Kling and a clock that the test moves.
type lookupFixture struct {
	*fixture
	kling *fakeKling
	mu    sync.Mutex // guards now
	now   time.Time
}

func newLookupFixture(t *testing.T, addr string) *lookupFixture {
	t.Helper()
	w := &lookupFixture{now: time.Now().UTC().Truncate(time.Second), kling: &fakeKling{tasks: map[string]string{}, legacy: map[string]string{}}}
	w.fixture = newFixture(t, addr, time.Second)
	w.cfg.Now = w.clock
	w.cfg.Lookups = worker.Lookups{Kling: w.kling, NewAPI: true}
	w.renew(t)
	w.lookUp(t) // takes the lease, so that no other worker asks
	return w
}

// work runs the pending tasks in another worker.
func (w *lookupFixture) work(t *testing.T) {
	t.Helper()
	asks := w.worker
	w.renew(t)
	w.fixture.work(t)
	w.worker = asks
}

func (w *lookupFixture) clock() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}

func (w *lookupFixture) pass(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = w.now.Add(d)
}

func (w *lookupFixture) lookUp(t *testing.T) {
	t.Helper()
	testenv.NoError(t, w.worker.LookUp(t.Context()))
}

func (w *lookupFixture) track(t *testing.T, id, api string) {
	t.Helper()
	_, err := w.store.Track(t.Context(), tasks.KlingJob(id), tasks.Metadata{API: api}, w.clock())
	testenv.NoError(t, err)
}

func (w *lookupFixture) job(t *testing.T, id string) store.Job {
	t.Helper()
	j, err := w.store.Job(t.Context(), tasks.KlingJob(id))
	testenv.NoError(t, err)
	return j
}

const completedBody = `{"id":"881","status":"succeeded","update_time":1736937000000,"outputs":[{"type":"video","id":"1","url":"%s/v.mp4","duration":"5"}]}`

func TestLookupsOfASilentJobBecomeRarer(t *testing.T) {
	t.Parallel()
	w := newLookupFixture(t, miniredis.RunT(t).Addr())
	w.kling.tasks["881"] = `{"id":"881","status":"processing","update_time":1736936700000}`
	w.track(t, "881", tasks.APITasks)
	var asked []time.Duration
	const step = 15 * time.Minute
	for passed := time.Duration(0); passed <= 8*24*time.Hour; passed += step {
		w.lookUp(t)
		if len(w.kling.taken()) > 0 {
			asked = append(asked, passed)
			if len(asked) == 1 {
				// Its answer is the job's first event: the clock starts again, and no later answer
				// has news.
				w.work(t)
				w.kling.taken()
			}
		}
		w.pass(step)
	}
	w.work(t)
	const quarter, hour = 15 * time.Minute, time.Hour
	want := []time.Duration{quarter}
	for _, since := range []time.Duration{quarter, 3 * quarter, 7 * quarter, 15 * quarter, 31 * quarter, 63 * quarter, 127 * quarter} {
		want = append(want, quarter+since)
	}
	// Once a day, and a last time when it is lost.
	for last := quarter + 127*quarter; last < quarter+7*24*hour; {
		last = min(last+24*hour, quarter+7*24*hour)
		want = append(want, last)
	}
	if diff := cmp.Diff(want, asked); diff != "" {
		t.Errorf("asked %d times (-want +got):\n%s", len(asked), diff)
	}
	w.checkJob(t, "881", tasks.StatusLost)
	if got := w.sent(); !slices.Equal(got, []string{"video.lost 881"}) {
		t.Errorf("sent %q, want the lost job once", got)
	}

	// A late webhook still counts.
	body := strings.Replace(fmt.Sprintf(completedBody, w.cdn.URL), "1736937000000", fmt.Sprint(w.clock().UnixMilli()), 1)
	w.deliver(t, "klingai-official", "msg_1", tasks.TypeCompleted, "881", body)
	w.work(t)
	w.checkJob(t, "881", tasks.StatusCompleted)
}

func TestWebhookAfterLookupChangesNothing(t *testing.T) {
	onRedis(t, func(t *testing.T, addr string) {
		w := newLookupFixture(t, addr)
		body := fmt.Sprintf(completedBody, w.cdn.URL)
		w.track(t, "881", "")
		w.kling.tasks["881"] = body
		w.pass(16 * time.Minute)
		w.lookUp(t)
		w.work(t)
		before := w.job(t, "881")
		if before.Status != tasks.StatusCompleted || before.Source != tasks.SourceLookup {
			t.Errorf("job is %s by %s, want completed by the look-up", before.Status, before.Source)
		}
		w.checkMedia(t, "881", store.MediaStored, "")
		w.deliver(t, "klingai-official", "msg_1", tasks.TypeCompleted, "881", body)
		w.work(t)
		if after := w.job(t, "881"); after.Status != before.Status || !after.FinishedAt.Equal(before.FinishedAt) {
			t.Errorf("the late webhook made %+v of %+v", after, before)
		}
		if got := w.sent(); !slices.Equal(got, []string{"video.completed 881"}) {
			t.Errorf("sent %q, want it once", got)
		}
		w.kling.taken()
		w.pass(48 * time.Hour)
		w.lookUp(t)
		w.checkAsked(t)
	})
}

func TestUnsignedCallbackOnlyTriggersALookup(t *testing.T) {
	w := newLookupFixture(t, miniredis.RunT(t).Addr())
	w.kling.tasks["881"] = `{"id":"881","status":"processing","update_time":1736936700000}`
	w.deliver(t, source.CallbackName, "", source.TypeCallback, "881", fmt.Sprintf(completedBody, w.cdn.URL))
	w.deliver(t, source.CallbackName, "", source.TypeCallback, "made-up", `{"task_id":"made-up","task_status":"succeed"}`)
	w.work(t)
	w.lookUp(t)
	w.work(t)
	w.checkJob(t, "881", tasks.StatusProcessing) // as Kling says
	w.checkJob(t, "made-up", "")
	w.checkAsked(t, "881", "legacy made-up")
	for id, want := range map[string]int{"881": 1, "made-up": 0} { // the first has a row only since the answer
		if answers, err := w.store.AnswersOf(t.Context(), tasks.KlingJob(id)); err != nil || len(answers) != want {
			t.Errorf("answers about %s: %+v, %v; want %d", id, answers, err, want)
		}
	}
	w.lookUp(t)
	w.checkAsked(t)
	events, err := w.store.Events(t.Context(), store.EventFilter{})
	testenv.NoError(t, err)
	for _, ev := range events {
		if ev.ProcessedAt.IsZero() {
			t.Errorf("event %s is not processed", ev.ID)
		}
	}
}

func TestJobIsLostWithoutUsableAnswers(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name        string
		err         error // of Kling
		least, most int   // questions in the first five minutes
	}{
		{"not known", nil, 1, 1},
		{"unreadable", fmt.Errorf("look up: %w", kling.ErrUnreadable), 1, 1},
		{"forbidden", &kling.APIError{Status: http.StatusForbidden, Code: 1103}, 1, 1},
		{"needs other keys", kling.ErrNeedsAPIKey, 1, 1},
		{"unknown status", nil, 1, 1},
		{"no credit", &kling.APIError{Status: http.StatusTooManyRequests, Code: 1102}, 3, 20},
		{"server error", &kling.APIError{Status: http.StatusInternalServerError, Code: 5000}, 3, 20},
		{"no network", errors.New("connection refused"), 3, 20},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newLookupFixture(t, miniredis.RunT(t).Addr())
			w.kling.troubles = map[string]error{"881": tt.err, "named": tt.err}
			if tt.name == "unknown status" {
				w.kling.legacy["881"] = `{"task_id":"881","task_status":"on_hold"}`
			}
			w.track(t, "881", "text2video")
			w.deliver(t, source.CallbackName, "", source.TypeCallback, "named", `{"task_id":"named","task_status":"succeed"}`)
			w.work(t)
			w.pass(16 * time.Minute)
			// asked looks jobs up once per step and counts the questions about the silent job.
			asked := func(step, total time.Duration) (n int) {
				for passed := time.Duration(0); passed < total; passed += step {
					_ = w.worker.LookUp(t.Context()) // Kling's error
					w.pass(step)
				}
				for _, what := range w.kling.taken() {
					if what == "legacy 881" {
						n++
					}
				}
				return n
			}
			if n := asked(time.Second, 5*time.Minute); n < tt.least || n > tt.most {
				t.Errorf("Kling was asked %d times, want %d to %d", n, tt.least, tt.most)
			}
			const day = 24 * time.Hour
			first := asked(time.Hour, day)
			asked(time.Hour, 3*day)
			if later := asked(time.Hour, 2*day) / 2; later > first*2/3 {
				t.Errorf("Kling was asked %d times on the first day and %d times a day on the fifth and sixth, want fewer", first, later)
			}
			w.checkJob(t, "881", tasks.StatusCreated)
			asked(time.Hour, 3*day)
			w.work(t)
			w.checkJob(t, "881", tasks.StatusLost)
			left, err := w.store.RequestedLookups(t.Context(), store.RequestFilter{Platform: tasks.PlatformKling, Now: w.clock().AddDate(1, 0, 0), Limit: 10})
			if err != nil || len(left) > 0 {
				t.Errorf("still requested: %v, %v", left, err)
			}
		})
	}
}

func TestEndedJobIsNeverLost(t *testing.T) {
	t.Parallel()
	w := newLookupFixture(t, miniredis.RunT(t).Addr())
	w.deliver(t, "klingai-official", "msg_1", tasks.TypeCompleted, "881", fmt.Sprintf(completedBody, w.cdn.URL))
	w.work(t)
	w.pass(8 * 24 * time.Hour)
	testenv.NoError(t, w.store.RequestLookup(t.Context(), tasks.KlingJob("881"), w.clock()))
	w.lookUp(t) // Kling does not know the job
	w.work(t)
	w.checkJob(t, "881", tasks.StatusCompleted)
	if events, err := w.store.ListEvents(t.Context(), store.EventQuery{Job: tasks.KlingJob("881"), Limit: 10}); err != nil || len(events) != 1 {
		t.Errorf("events are %+v, %v; want the webhook alone", events, err)
	}
	if state, err := w.store.LookupStateOf(t.Context(), tasks.KlingJob("881")); err != nil || !state.NextAt.IsZero() || !state.RequestedAt.IsZero() {
		t.Errorf("look-ups are %+v, %v; want none due", state, err)
	}
	if answers, err := w.store.AnswersOf(t.Context(), tasks.KlingJob("881")); err != nil || len(answers) != 1 || !answers[0].At.Equal(w.clock()) || answers[0].Outcome != "unknown" {
		t.Errorf("answers are %+v, %v; want an unknown job", answers, err)
	}
}

func TestOnlyOneWorkerAsksKling(t *testing.T) {
	server := miniredis.RunT(t)
	first, second := newLookupFixture(t, server.Addr()), newLookupFixture(t, server.Addr()) // the first has the lease
	for _, w := range []*lookupFixture{first, second} {
		w.track(t, "881", "")
		w.pass(16 * time.Minute)
	}
	first.lookUp(t)
	second.lookUp(t)
	if a, b := len(first.kling.taken()), len(second.kling.taken()); a == 0 || b != 0 {
		t.Errorf("the workers asked %d and %d times, want only the first", a, b)
	}
	server.FastForward(31 * time.Second)
	second.lookUp(t)
	if len(second.kling.taken()) == 0 {
		t.Error("nobody took over from a worker that is gone")
	}
}

func TestLookupsSkipOtherPlatforms(t *testing.T) {
	t.Parallel()
	w := newLookupFixture(t, miniredis.RunT(t).Addr())
	other := tasks.JobKey{Platform: "fal", ID: "881"}
	_, err := w.store.Track(t.Context(), other, tasks.Metadata{}, w.clock())
	testenv.NoError(t, err)
	for range 9 {
		w.pass(24 * time.Hour)
		w.lookUp(t)
	}
	w.work(t)
	w.checkAsked(t)
	if j, err := w.store.Job(t.Context(), other); err != nil || j.Status != tasks.StatusCreated {
		t.Errorf("job is %s, %v; want created", j.Status, err)
	}
}
