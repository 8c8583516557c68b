package store_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/klinghook/klinghook/internal/store"
	"github.com/klinghook/klinghook/internal/testenv"
	"github.com/klinghook/klinghook/tasks"
)

// lives are the events of each job in a test with many jobs.
var lives = []occurrence{
	{id: "a", minute: 0, status: "created", prompt: "a cat", model: "v1"},
	{id: "b", minute: 1, status: "processing", progress: 25},
	{id: "c", minute: 2, status: "failed", reason: "busy"},
	{id: "d", minute: 3, status: "processing", progress: 75, prompt: "a cat, slowly"},
	{id: "e", minute: 4, status: "completed", video: "v.mp4?sig=1"},
	{id: "f", minute: 5, status: "completed", video: "v.mp4?sig=2"},
}

// Several workers record the same events at once, each in another order and in other
// batches.
func TestConcurrentBatchesGiveTheSameRows(t *testing.T) {
	onBoth(t, func(t *testing.T, db *store.Store) {
		deliverTogether(t, db, "alone", lives)
		want := read(t, db, "alone")
		for round := range 10 {
			var jobs []string
			for i := range 6 {
				jobs = append(jobs, fmt.Sprintf("round-%d-job-%d", round, i))
			}
			var wg sync.WaitGroup
			for by := range 4 {
				wg.Go(func() { recordShuffled(t, db, jobs, rand.New(rand.NewPCG(uint64(round), uint64(by)))) })
			}
			wg.Wait()
			for _, job := range jobs {
				workTwice(t, db, job)
				if diff := cmp.Diff(want, read(t, db, job), cmpopts.EquateEmpty()); diff != "" {
					t.Errorf("%s differs from a job recorded alone (-want +got):\n%s", job, diff)
				}
			}
		}
	})
}

// recordShuffled records and marks all events of the jobs in random order and batches.
func recordShuffled(t *testing.T, db *store.Store, jobs []string, r *rand.Rand) {
	var list []store.Recording
	for _, job := range jobs {
		for _, o := range lives {
			ev, up := o.record(job)
			list = append(list, store.Recording{Event: ev, Update: up, Destinations: destinations})
		}
	}
	r.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	for len(list) > 0 {
		n := min(1+r.IntN(12), len(list))
		var ids []string
		for _, recording := range list[:n] {
			ids = append(ids, recording.Event.ID)
		}
		if _, err := db.Record(t.Context(), list[:n], received); err != nil {
			t.Error(err)
		}
		if err := db.MarkProcessed(t.Context(), ids, received); err != nil {
			t.Error(err)
		}
		list = list[n:]
	}
}

func TestEachEventOfABatchOwesItsOwnWork(t *testing.T) {
	onBoth(t, func(t *testing.T, db *store.Store) {
		of := func(id string, update *tasks.JobUpdate, destinations ...string) store.Recording {
			ev := event(id, tasks.TypeProcessing)
			ev.ReceivedAt = received.Add(time.Minute)
			if update != nil {
				update.Job, update.EventID, update.OccurredAt = tasks.KlingJob("vid_1"), id, t0
			}
			return store.Recording{Event: ev, Update: update, Destinations: destinations}
		}
		file := []tasks.MediaLink{{Name: "video", URL: "https://cdn.example/v.mp4"}}
		list := []store.Recording{
			of("z", &tasks.JobUpdate{Status: tasks.StatusProcessing}),
			of("linked", &tasks.JobUpdate{Status: tasks.StatusCompleted, Media: file}),
			of("notified", &tasks.JobUpdate{Status: tasks.StatusProcessing}, "slack-1", "slack-2"),
			of("unproven", &tasks.JobUpdate{Unproven: true}),
			of("a", nil),
		}
		tests := []struct {
			name          string
			at            time.Time
			media         []int // of each
			notifications []int
			settled       []bool
			processed     []bool
		}{
			{"without a time", time.Time{}, []int{0, 1, 0, 0, 0}, []int{0, 0, 2, 0, 0}, make([]bool, 5), make([]bool, 5)},
			{"again", received, []int{0, 1, 0, 0, 0}, []int{0, 0, 2, 0, 0}, make([]bool, 5), make([]bool, 5)},
			{"other events", received, []int{0, 1, 0, 0, 0}, []int{0, 0, 2, 0, 0}, []bool{true, false, false, false, true}, make([]bool, 5)},
			{"the other events again", received.Add(time.Hour), []int{0, 1, 0, 0, 0}, []int{0, 0, 2, 0, 0}, make([]bool, 5), []bool{true, false, false, false, true}},
		}
		for i, tt := range tests {
			if i == 2 {
				for k := range list {
					list[k].Event.ID += "-2"
				}
			}
			owed, err := db.Record(t.Context(), list, tt.at)
			testenv.NoError(t, err)
			for k, o := range owed {
				id := list[k].Event.ID
				if len(o.Media) != tt.media[k] || len(o.Notifications) != tt.notifications[k] || o.Settled != tt.settled[k] || o.Processed != tt.processed[k] || o.Buried {
					t.Errorf("%s: %s owes %+v; want %d media, %d notifications, settled %t, processed %t",
						tt.name, id, o, tt.media[k], tt.notifications[k], tt.settled[k], tt.processed[k])
				}
				kept, err := db.Event(t.Context(), id)
				testenv.NoError(t, err)
				var want time.Time
				if o.Settled || o.Processed {
					want = received
				}
				if !kept.ProcessedAt.Equal(want) {
					t.Errorf("%s: %s is processed at %v, want %v", tt.name, id, kept.ProcessedAt, want)
				}
			}
		}
	})
}

func TestManyLinksAreStoredInSeveralStatements(t *testing.T) {
	onBoth(t, func(t *testing.T, db *store.Store) {
		var list []store.Recording
		for n := range 12 {
			ev, update := completed()
			ev.ID, ev.Job = fmt.Sprint("event-", n), tasks.KlingJob(fmt.Sprint("job-", n))
			update.EventID, update.Job, update.Media = ev.ID, ev.Job, nil
			for k := range 100 {
				update.Media = append(update.Media, tasks.MediaLink{Name: fmt.Sprintf("video-%03d", k), URL: fmt.Sprintf("https://cdn.example/%d/%d", n, k)})
			}
			slices.Reverse(update.Media)
			list = append(list, store.Recording{Event: ev, Update: update})
		}
		owed, err := db.Record(t.Context(), list, received)
		testenv.NoError(t, err)
		for n, o := range owed {
			media, err := db.MediaOf(t.Context(), list[n].Event.Job)
			testenv.NoError(t, err)
			if diff := cmp.Diff(media, o.Media); len(media) != 100 || diff != "" {
				t.Errorf("%d files of job %d are kept (-kept +owed):\n%s", len(media), n, diff)
			}
		}
	})
}
