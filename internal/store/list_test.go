package store

import (
	"database/sql"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/klinghook/klinghook/internal/testenv"
	"github.com/klinghook/klinghook/tasks"
)

var listStart = time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)

// listedJob is a job of a test and its events.
type listedJob struct {
	id, prompt, model, source, reason string
	status                            tasks.Status
	tags                              []string
	at                                time.Time
}

// record tracks the job, if it has tags, and records an event with its status.
func (j listedJob) record(t *testing.T, s *Store) {
	t.Helper()
	key := tasks.KlingJob(j.id)
	if j.tags != nil {
		_, err := s.Track(t.Context(), key, tasks.Metadata{Tags: j.tags}, j.at)
		testenv.NoError(t, err)
	}
	for i, status := range []tasks.Status{tasks.StatusCreated, j.status} {
		event := tasks.Event{ID: fmt.Sprintf("%s:%d", j.id, i), Source: j.source, Type: string(status), Job: key, ReceivedAt: j.at}
		update := &tasks.JobUpdate{Job: key, EventID: event.ID, OccurredAt: j.at.Add(time.Duration(i) * time.Second), Status: status, Prompt: j.prompt, Model: j.model}
		if status == j.status {
			update.Error = j.reason
		}
		_, err := s.Record(t.Context(), []Recording{{Event: event, Update: update}}, j.at)
		testenv.NoError(t, err)
	}
}

// matches reports whether a query selects the job.
func (j listedJob) matches(q JobQuery) bool {
	text := strings.ToLower(strings.Join([]string{j.id, j.prompt, j.reason}, "\n"))
	words := strings.Fields(strings.ToLower(q.Text))
	if len(words) > maxWords {
		words = []string{strings.ToLower(q.Text)}
	}
	return (len(q.Statuses) == 0 || slices.Contains(q.Statuses, j.status)) &&
		(q.Source == "" || q.Source == j.source) && (q.Model == "" || q.Model == j.model) &&
		(q.Tag == "" || slices.Contains(j.tags, q.Tag)) && !slices.ContainsFunc(words, func(word string) bool { return !strings.Contains(text, word) }) &&
		(q.Since.IsZero() || !j.at.Before(q.Since)) && (q.Until.IsZero() || j.at.Before(q.Until))
}

func pick[T any](r *rand.Rand, values ...T) T { return values[r.IntN(len(values))] }

func randomJobs(r *rand.Rand, n int) (jobs []listedJob) {
	for i := range n {
		j := listedJob{
			id: fmt.Sprintf("vid_%d", i), model: pick(r, "", "kling-v1", "kling-v2"), source: pick(r, "klingai", "legacy"),
			status: pick(r, tasks.StatusCreated, tasks.StatusProcessing, tasks.StatusCompleted, tasks.StatusFailed, tasks.StatusCancelled), at: listStart.Add(time.Duration(i) * time.Minute),
			prompt: pick(r, "A red Fox", "一只红色的狐狸", `100% "sure"_\`, "ÉTÉ à Paris") + pick(r, "", " at night", " in the snow"),
		}
		if j.status == tasks.StatusFailed {
			j.reason = "the prompt was refused"
		}
		if r.IntN(3) == 0 {
			j.tags = pick(r, []string{"blue"}, []string{"blue", "green"}, []string{"green"})
		}
		jobs = append(jobs, j)
	}
	return jobs
}

func randomQuery(r *rand.Rand) (q JobQuery) {
	q.Statuses = pick(r, nil, nil, []tasks.Status{tasks.StatusFailed}, []tasks.Status{tasks.StatusCreated, tasks.StatusCompleted}, []tasks.Status{tasks.StatusFailed, tasks.StatusCancelled}, []tasks.Status{tasks.StatusLost})
	q.Source, q.Model, q.Tag = pick(r, "", "", "legacy"), pick(r, "", "", "kling-v2", "none"), pick(r, "", "", "blue", "green", "no")
	q.Text = pick(r, "", "", "red fox", "VID_1", "été", "狐狸", "色", `"sure"_`, "%", "_", `\`, "snow", "refused", "x'\"", "nothing has this", "fox at night", "night  FOX a", "snow VID_1", "狐狸 snow", "t % e", "a red fox in the snow a red fox", "100% \"sure\"_\\ in the snow")
	q.Since = pick(r, time.Time{}, listStart.Add(20*time.Minute), longAgo)
	q.Until = pick(r, time.Time{}, listStart.Add(50*time.Minute), time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC))
	return q
}

// Each query is answered in pages, and by each of the ways in which it can be.
func TestListedJobsAreThoseThatMatch(t *testing.T) {
	onEach(t, func(t *testing.T, s *Store) {
		r := rand.New(rand.NewPCG(1, 2))
		jobs := randomJobs(r, 80)
		for _, j := range jobs {
			j.record(t, s)
		}
		slices.Reverse(jobs)
		ids := make(map[int64]string)
		rows, err := s.ListJobs(t.Context(), JobQuery{Limit: len(jobs)})
		testenv.NoError(t, err)
		for _, row := range rows {
			ids[row.Seq] = row.Key.ID
		}
		for i := range 200 {
			q := randomQuery(r)
			var want, got []string
			for _, j := range jobs {
				if j.matches(q) {
					want = append(want, j.id)
				}
			}
			q.Limit = 7
			for {
				l := s.jobList(nil, q)
				l.walked, l.walkedDeeper, l.few, l.sampled, l.maxKinds = pick(r, 2, 2000), pick(r, 0, 60_000), pick(r, 2, 20, 2000), pick(r, 1, 10), pick(r, 3, 2000, 2000, 2000)
				l.dialect.maxTrigrams = pick(r, 1, 3, 12)
				if l.few == 2000 && l.maxKinds == 2000 { // else short words are not searched in all jobs
					l.walkedForText = pick(r, 2, 30_000)
				}
				if l.dialect.sample != "" {
					l.dialect.sample = "seq % 2 = 0"
				}
				var seqs []int64
				testenv.NoError(t, s.reading(t.Context(), func(db queryer) (err error) {
					l.q = db
					seqs, err = l.page(t.Context())
					return err
				}))
				for _, seq := range seqs {
					got = append(got, ids[seq])
				}
				if len(seqs) < q.Limit {
					break
				}
				q.Before = seqs[len(seqs)-1]
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Fatalf("query %d %+v (-want +got):\n%s", i, q, diff)
			}
		}
	})
}

func TestListedJobHasItsFilesAndOpenDeadLetters(t *testing.T) {
	onEach(t, func(t *testing.T, s *Store) {
		job := listedJob{id: "vid_1", source: "klingai", status: tasks.StatusFailed, at: listStart}
		job.record(t, s)
		key := tasks.KlingJob("vid_1")
		event := tasks.Event{ID: "links", Source: "klingai", Job: key, ReceivedAt: listStart}
		update := &tasks.JobUpdate{Job: key, EventID: "links", OccurredAt: listStart, Status: tasks.StatusCompleted, Media: []tasks.MediaLink{{Name: "video", URL: "https://a.example/v.mp4"}, {Name: "thumbnail", URL: "https://a.example/t.jpg"}}}
		_, err := s.Record(t.Context(), []Recording{{Event: event, Update: update}}, listStart)
		testenv.NoError(t, err)
		for _, id := range []string{"a", "b", "c"} {
			testenv.NoError(t, s.Bury(t.Context(), DeadLetter{Task: tasks.Task{ID: id, Kind: tasks.KindMediaDownload}, Job: key, Error: id, FailedAt: listStart}))
		}
		testenv.NoError(t, s.EndDeadLetterOf(t.Context(), "a", listStart))
		for name, list := range map[string]func() ([]JobRow, error){
			"list": func() ([]JobRow, error) { return s.ListJobs(t.Context(), JobQuery{}) },
			"keys": func() ([]JobRow, error) { return s.JobRows(t.Context(), []tasks.JobKey{key, tasks.KlingJob("no")}) },
		} {
			rows, err := list()
			if err != nil || len(rows) != 1 || rows[0].Status != tasks.StatusCompleted || rows[0].OpenDeadLetters != 2 || len(rows[0].Media) != 2 || rows[0].Media[1].Name != "video" {
				t.Errorf("%s: %+v, %v", name, rows, err)
			}
		}
		newer, err := s.ListJobs(t.Context(), JobQuery{After: firstSeq(listStart.Add(time.Second))})
		if err != nil || len(newer) != 0 {
			t.Errorf("newer jobs %+v, %v", newer, err)
		}
	})
}

func TestFacetsAreTheValuesOfAllJobs(t *testing.T) {
	onEach(t, func(t *testing.T, s *Store) {
		for _, j := range randomJobs(rand.New(rand.NewPCG(1, 2)), 40) {
			j.record(t, s)
		}
		got, err := s.Facets(t.Context())
		want := Facets{Models: []string{"kling-v1", "kling-v2"}, Sources: []string{"klingai", "legacy"}, Tags: []string{"blue", "green"}}
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%v (-want +got):\n%s", err, diff)
		}
	})
}

// A change of a job, a file or a dead letter, and a deletion, is news of the job.
func TestChangesNameTheJobs(t *testing.T) {
	onEach(t, func(t *testing.T, s *Store) {
		if last, err := s.LastChange(t.Context()); err != nil || !last.IsZero() {
			t.Errorf("last change of an empty database: %s, %v", last, err)
		}
		began := time.Now().Add(-time.Second)
		listedJob{id: "vid_1", source: "klingai", status: tasks.StatusCreated, at: listStart}.record(t, s)
		letter := DeadLetter{Task: tasks.Task{ID: "a", Kind: tasks.KindMediaDownload}, Job: tasks.KlingJob("vid_2"), Error: "x", FailedAt: time.Now().Add(time.Minute)}
		testenv.NoError(t, s.Bury(t.Context(), letter))
		testenv.NoError(t, s.EndDeadLetterOf(t.Context(), "a", letter.FailedAt.Add(time.Minute)))
		testenv.NoError(t, s.BeginErasure(t.Context(), tasks.KlingJob("vid_1"), letter.FailedAt.Add(time.Hour)))
		changes, err := s.Changes(t.Context(), began, 10)
		testenv.NoError(t, err)
		var got []string
		for _, c := range changes {
			got = append(got, fmt.Sprint(c.Job.ID, " ", c.Deleted))
		}
		if want := []string{"vid_1 false", "vid_2 false", "vid_2 false", "vid_1 true"}; !slices.Equal(got, want) {
			t.Errorf("changed %q, want %q", got, want)
		}
		last, err := s.LastChange(t.Context())
		if err != nil || !last.Equal(changes[3].At) {
			t.Errorf("last change %s, %v, want %s", last, err, changes[3].At)
		}
		if none, err := s.Changes(t.Context(), last, 10); err != nil || len(none) != 0 {
			t.Errorf("after the last change: %v, %v", none, err)
		}
		if rows, err := s.JobRows(t.Context(), []tasks.JobKey{tasks.KlingJob("vid_1")}); err != nil || len(rows) != 0 {
			t.Errorf("a job whose deletion began is read: %v, %v", rows, err)
		}
	})
}

func TestListsDoNotWaitForWriters(t *testing.T) {
	onEach(t, func(t *testing.T, s *Store) {
		listedJob{id: "vid_1", source: "klingai", status: tasks.StatusCreated, at: listStart}.record(t, s)
		testenv.NoError(t, s.inTx(t.Context(), func(tx *sql.Tx) error {
			if _, err := tx.ExecContext(t.Context(), `UPDATE jobs SET prompt = 'a cat'`); err != nil {
				return err
			}
			rows, err := s.ListJobs(t.Context(), JobQuery{})
			if len(rows) != 1 || rows[0].Prompt != "" {
				t.Errorf("rows %+v", rows)
			}
			return err
		}))
	})
}
