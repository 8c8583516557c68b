package store_test

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/klinghook/klinghook/internal/store"
	"github.com/klinghook/klinghook/internal/testenv"
	"github.com/klinghook/klinghook/tasks"
)

// occurrence describes an event of a job.
type occurrence struct {
	id     string
	minute int // by Kling's clock
	status tasks.Status
	// the other fields
	progress int // 0 means unknown
	prompt   string
	model    string
	reason   string
	video    string
	missing  string
	cost     string // in USD
	test     bool
}

func (o occurrence) record(job string) (tasks.Event, *tasks.JobUpdate) {
	at := t0.Add(time.Duration(o.minute) * time.Minute)
	ev := tasks.Event{ID: job + ":" + o.id, Source: "klingai", Type: "video." + string(o.status), Job: tasks.KlingJob(job), ReceivedAt: received}
	up := &tasks.JobUpdate{Job: tasks.KlingJob(job), EventID: ev.ID, OccurredAt: at, Status: o.status, Prompt: o.prompt, Model: o.model, Error: o.reason}
	up.Missing, up.MaybeTest = o.missing, o.test
	if o.cost != "" {
		up.Costs = []tasks.Cost{{Amount: o.cost, Unit: "USD", Kind: "cash"}}
	}
	if o.progress > 0 {
		up.Progress = &o.progress
	}
	if o.status.Terminal() {
		up.FinishedAt = at
	}
	if o.video != "" {
		up.Media = []tasks.MediaLink{{Name: "video", URL: "https://cdn.example/" + o.video}, {Name: "thumbnail", URL: "https://cdn.example/t.jpg"}}
	}
	return ev, up
}

// rows are all rows of a job.
type rows struct {
	Job           store.Job
	Media         []store.Media
	Notifications []store.Notification
}

// A job's rows do not depend on the order and repeats of its events, on when their work
// is done, or on which events share a transaction.
func TestRowsDoNotDependOnEventOrder(t *testing.T) {
	tests := []struct {
		name             string
		events           []occurrence
		want             tasks.Status
		wantContradicted bool
		wantVideo        string
	}{
		{
			name: "a job that completes", want: tasks.StatusCompleted, wantVideo: "v.mp4",
			events: []occurrence{
				{id: "a", minute: 0, status: "created", prompt: "a cat", model: "v1"},
				{id: "b", minute: 1, status: "processing", progress: 25},
				{id: "c", minute: 2, status: "processing", progress: 75, prompt: "a cat, slowly"},
				{id: "d", minute: 3, status: "completed", video: "v.mp4?sig=1"},
			},
		},
		{
			name: "failed at first, then completed", want: tasks.StatusCompleted, wantVideo: "v.mp4",
			events: []occurrence{
				{id: "a", minute: 0, status: "created"},
				{id: "b", minute: 2, status: "failed", reason: "busy"},
				{id: "c", minute: 1, status: "processing", progress: 90},
				{id: "d", minute: 5, status: "completed", video: "v.mp4?sig=1"},
			},
		},
		{
			name: "failed and cancelled contradict each other", want: tasks.StatusFailed, wantContradicted: true,
			events: []occurrence{
				{id: "a", minute: 1, status: "processing", progress: 10},
				{id: "b", minute: 2, status: "failed", reason: "busy"},
				{id: "c", minute: 3, status: "cancelled", reason: "by the user"},
			},
		},
		{
			name: "events of the same instant", want: tasks.StatusFailed, wantContradicted: true,
			events: []occurrence{
				{id: "a", minute: 2, status: "cancelled", reason: "one", prompt: "p", model: "m"},
				{id: "b", minute: 2, status: "failed", reason: "two", prompt: "q", model: "n"},
				{id: "c", minute: 2, status: "processing", progress: 40, prompt: "r"},
			},
		},
		{
			name: "a link with its signature renewed", want: tasks.StatusCompleted, wantVideo: "v.mp4",
			events: []occurrence{
				{id: "a", minute: 1, status: "completed", video: "v.mp4?sig=1"},
				{id: "b", minute: 2, status: "completed", video: "v.mp4?sig=2"},
				{id: "c", minute: 3, status: "completed"},
			},
		},
		{
			name: "the newest links are dead", want: tasks.StatusCompleted, wantVideo: "v.mp4",
			events: []occurrence{
				{id: "a", minute: 1, status: "completed", video: "u.mp4"},
				{id: "b", minute: 2, status: "completed", video: "v.mp4?sig=1"},
				{id: "c", minute: 3, status: "completed", video: "dead-1.mp4"},
				{id: "d", minute: 4, status: "completed", video: "dead-2.mp4"},
			},
		},
		{
			name: "a later event names another file", want: tasks.StatusCompleted, wantVideo: "w.mp4",
			events: []occurrence{
				{id: "a", minute: 1, status: "completed", video: "v.mp4?sig=1"},
				{id: "b", minute: 2, status: "completed", video: "w.mp4?sig=1"},
				{id: "c", minute: 0, status: "created"},
			},
		},
		{
			name: "a link that comes late", want: tasks.StatusCompleted, wantVideo: "v.mp4",
			events: []occurrence{
				{id: "a", minute: 1, status: "completed", missing: "no link", cost: "0.1"},
				{id: "b", minute: 2, status: "completed", video: "v.mp4?sig=1", cost: "0.2"},
				{id: "c", minute: 3, status: "completed", missing: "no outputs"},
			},
		},
		{
			name: "a test callback", want: tasks.StatusTest,
			events: []occurrence{{id: "a", status: "created", test: true}, {id: "b", minute: 1, status: "test"}, {id: "c", status: "created", test: true}},
		},
		{
			name: "a job that looked like a test callback", want: tasks.StatusProcessing,
			events: []occurrence{{id: "a", status: "created", test: true}, {id: "b", minute: 2, status: "test"}, {id: "c", minute: 1, status: "processing"}},
		},
		{name: "created, then lost", want: tasks.StatusLost, events: []occurrence{{id: "a", status: "created"}, {id: "b", minute: 1, status: "lost"}}},
		{name: "lost, then processing", want: tasks.StatusProcessing, events: []occurrence{{id: "a", status: "lost"}, {id: "b", minute: 1, status: "processing"}}},
		{name: "lost, then failed", want: tasks.StatusFailed, events: []occurrence{{id: "a", status: "lost"}, {id: "b", minute: 1, status: "failed"}}},
		{name: "completed, then lost", want: tasks.StatusCompleted, events: []occurrence{{id: "a", status: "completed"}, {id: "b", minute: 1, status: "lost"}}},
		{
			name: "lost twice", want: tasks.StatusLost,
			events: []occurrence{{id: "a", status: "lost"}, {id: "b", minute: 1, status: "processing"}, {id: "c", minute: 2, status: "lost"}},
		},
	}
	onBoth(t, func(t *testing.T, db *store.Store) {
		for _, tt := range tests {
			t.Run(tt.name, func(t *testing.T) {
				var want rows
				for i, order := range permutations(tt.events) {
					for way, deliver := range []func(*testing.T, *store.Store, string, []occurrence){deliverPromptly, deliverLate, deliverTogether} {
						job := fmt.Sprintf("%s-%d-%d", tt.name, i, way)
						deliver(t, db, job, withRepeats(order))
						got := read(t, db, job)
						if i == 0 && way == 0 {
							want = got
							checkEnd(t, got, tt.want, tt.wantContradicted, tt.wantVideo)
							continue
						}
						if diff := gocmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
							t.Fatalf("order %v gives other rows (-want +got):\n%s", order, diff)
						}
					}
				}
			})
		}
	})
}

func checkEnd(t *testing.T, got rows, status tasks.Status, contradicted bool, video string) {
	t.Helper()
	if got.Job.Status != status || got.Job.Contradicted != contradicted {
		t.Errorf("job is %s, contradicted %t; want %s, %t", got.Job.Status, got.Job.Contradicted, status, contradicted)
	}
	at := slices.IndexFunc(got.Media, func(m store.Media) bool { return m.Name == "video" })
	switch {
	case video == "" && at >= 0:
		t.Errorf("job has a video from %s, want none", got.Media[at].URL)
	case video != "" && (at < 0 || got.Media[at].SHA256 != "https://cdn.example/"+video):
		t.Errorf("media are %+v, want a video of %s", got.Media, video)
	}
}

func deliverPromptly(t *testing.T, db *store.Store, job string, order []occurrence) {
	t.Helper()
	deliver(t, db, job, order, true)
}

func deliverLate(t *testing.T, db *store.Store, job string, order []occurrence) {
	t.Helper()
	deliver(t, db, job, order, false)
}

// destinations are notified of the events.
var destinations = []string{"slack-1", "forward-2"}

// deliver records the events in order. It does their work promptly or at the end, and at the
// end twice, as after a crash.
func deliver(t *testing.T, db *store.Store, job string, order []occurrence, promptly bool) {
	t.Helper()
	ctx := t.Context()
	for i, o := range order {
		ev, up := o.record(job)
		owed, err := recordOne(ctx, db, ev, up, destinations)
		testenv.NoError(t, err)
		if promptly {
			work(ctx, t, db, job, owed.Notifications)
		}
		// Not every event is marked: a worker may die before that.
		if i%2 == 0 {
			testenv.NoError(t, db.MarkProcessed(ctx, []string{ev.ID}, received))
		}
	}
	workTwice(t, db, job)
}

// deliverTogether records the events in order, in random batches, and does the pending
// work after some of them.
func deliverTogether(t *testing.T, db *store.Store, job string, order []occurrence) {
	t.Helper()
	ctx := t.Context()
	r := rand.New(rand.NewPCG(2, uint64(len(order))))
	for len(order) > 0 {
		batch := order[:min(1+r.IntN(4), len(order))]
		order = order[len(batch):]
		var list []store.Recording
		var ids []string
		for _, o := range batch {
			ev, up := o.record(job)
			list, ids = append(list, store.Recording{Event: ev, Update: up, Destinations: destinations}), append(ids, ev.ID)
		}
		owed, err := db.Record(ctx, list, received)
		testenv.NoError(t, err)
		if r.IntN(2) == 0 {
			for _, o := range owed {
				work(ctx, t, db, job, o.Notifications)
			}
		}
		if r.IntN(2) == 0 {
			testenv.NoError(t, db.MarkProcessed(ctx, ids, received))
		}
	}
	workTwice(t, db, job)
}

// workTwice does everything owed for a job twice.
func workTwice(t *testing.T, db *store.Store, job string) {
	t.Helper()
	notifications, err := db.NotificationsOf(t.Context(), tasks.KlingJob(job))
	testenv.NoError(t, err)
	work(t.Context(), t, db, job, notifications)
	work(t.Context(), t, db, job, notifications)
}

// work stores pending files and sends notifications. Links to "dead-…" are dead. A
// file's SHA-256 is the link without its query.
func work(ctx context.Context, t *testing.T, db *store.Store, job string, notifications []store.Notification) {
	t.Helper()
	media, err := db.MediaOf(ctx, tasks.KlingJob(job))
	testenv.NoError(t, err)
	for _, m := range media {
		for m.State == store.MediaPending {
			m = fetch(ctx, t, db, m)
		}
	}
	for _, n := range notifications {
		testenv.NoError(t, sent(ctx, db, n.ID))
	}
}

// fetch tries the current link and returns the updated file.
func fetch(ctx context.Context, t *testing.T, db *store.Store, m store.Media) store.Media {
	t.Helper()
	if strings.Contains(m.URL, "dead-") {
		m, err := db.MediaFailed(ctx, m, "404", received)
		testenv.NoError(t, err)
		return m
	}
	m.Object, m.Size, m.ContentType = m.Job.ID+"/"+m.Name, 1, "video/mp4"
	m.SHA256, _, _ = strings.Cut(m.URL, "?")
	if superseded, err := db.StoreMedia(ctx, m, received, func() error { return nil }); err != nil || superseded {
		t.Fatalf("StoreMedia = %t, %v", superseded, err)
	}
	m, err := db.Medium(ctx, m.Job, m.Name)
	testenv.NoError(t, err)
	return m
}

// read returns a job's rows without its id.
func read(t *testing.T, db *store.Store, id string) rows {
	t.Helper()
	job, err := db.Job(t.Context(), tasks.KlingJob(id))
	testenv.NoError(t, err)
	media, err := db.MediaOf(t.Context(), tasks.KlingJob(id))
	testenv.NoError(t, err)
	notifications, err := db.NotificationsOf(t.Context(), tasks.KlingJob(id))
	testenv.NoError(t, err)
	job.Key = tasks.JobKey{}
	for i := range media {
		media[i].Job, media[i].Object = tasks.JobKey{}, ""
	}
	for i := range notifications {
		n := &notifications[i]
		n.ID, n.Job = "", tasks.JobKey{}
		if n.EventID != "" {
			n.EventID = n.EventID[len(id)+1:]
		}
	}
	slices.SortFunc(notifications, func(a, b store.Notification) int {
		return cmp.Or(cmp.Compare(a.Type, b.Type), cmp.Compare(a.Destination, b.Destination), cmp.Compare(a.EventID, b.EventID))
	})
	return rows{job, media, notifications}
}

// permutations returns every order of the events.
func permutations[T any](events []T) [][]T {
	if len(events) <= 1 {
		return [][]T{slices.Clone(events)}
	}
	var all [][]T
	for i := range events {
		rest := slices.Delete(slices.Clone(events), i, i+1)
		for _, p := range permutations(rest) {
			all = append(all, append([]T{events[i]}, p...))
		}
	}
	return all
}

// withRepeats repeats each event at a random later place; the seed is fixed.
func withRepeats(order []occurrence) []occurrence {
	r := rand.New(rand.NewPCG(1, uint64(len(order))))
	out := slices.Clone(order)
	for _, o := range order {
		first := slices.IndexFunc(out, func(x occurrence) bool { return x.id == o.id })
		at := first + 1 + r.IntN(len(out)-first)
		out = slices.Insert(out, at, o)
	}
	return out
}
