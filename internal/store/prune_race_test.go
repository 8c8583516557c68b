package store

import (
	"context"
	"database/sql"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/klinghook/klinghook/internal/testenv"
	"github.com/klinghook/klinghook/tasks"
)

// onPostgres returns an empty, migrated database on PostgreSQL.
func onPostgres(t *testing.T) *Store {
	t.Helper()
	s, err := Create(t.Context(), testenv.Postgres(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	if _, err := s.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s
}

// oldJob records a job that was completed at a time, and returns a later event of it that
// owes a file.
func oldJob(t *testing.T, s *Store, at time.Time) Recording {
	t.Helper()
	recording := func(id string, media ...tasks.MediaLink) Recording {
		event := tasks.Event{ID: id, Source: "klingai", Type: tasks.TypeCompleted, Job: tasks.KlingJob("vid_1"), ReceivedAt: at, Body: []byte("{}")}
		return Recording{Event: event, Update: &tasks.JobUpdate{Job: event.Job, EventID: id, Status: tasks.StatusCompleted, Media: media}}
	}
	if _, err := s.Record(t.Context(), []Recording{recording("klingai:1")}, at); err != nil {
		t.Fatal(err)
	}
	return recording("klingai:2", tasks.MediaLink{Name: "video", URL: "https://cdn.example/v.mp4"})
}

// awaitLock waits until one transaction of the database waits for another.
func awaitLock(ctx context.Context, s *Store) error {
	for {
		waits, err := one(ctx, s.db, scanOne[bool], `SELECT EXISTS (SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock')`)
		if err != nil || waits {
			return err
		}
	}
}

func TestEventDuringDeletionDoesNotRestoreItsJob(t *testing.T) {
	s, now := onPostgres(t), time.Now()
	late := oldJob(t, s, now.Add(-time.Hour))
	recorded := make(chan Owed, 1)
	err := s.inTx(t.Context(), func(tx *sql.Tx) error {
		run := pruner{Store: s, Pruning: Pruning{Now: now}}
		if err := run.deleteJobs(t.Context(), tx, []tasks.JobKey{late.Event.Job}); err != nil {
			return err
		}
		go func() {
			owed, err := s.Record(t.Context(), []Recording{late}, now)
			if err != nil {
				t.Error(err)
				owed = make([]Owed, 1)
			}
			recorded <- owed[0]
		}()
		return awaitLock(t.Context(), s)
	})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(Owed{Erased: true}, <-recorded); diff != "" {
		t.Errorf("the event (-want +got):\n%s", diff)
	}
	if _, err := s.Job(t.Context(), late.Event.Job); !errors.Is(err, ErrNotFound) {
		t.Errorf("the job is back: %v", err)
	}
	if events, err := s.Events(t.Context(), EventFilter{Job: late.Event.Job}); err != nil || len(events) > 0 {
		t.Errorf("it has the events %v, %v", events, err)
	}
}

func TestPruneSkipsJobWithAnEventBeingRecorded(t *testing.T) {
	s, now := onPostgres(t), time.Now()
	late := oldJob(t, s, now.Add(-time.Hour))
	prune := func() error {
		got, err := s.Prune(t.Context(), Pruning{Retention: Retention{Jobs: time.Minute}, Now: now})
		if got != (Pruned{}) {
			t.Errorf("deleted %+v", got)
		}
		return err
	}
	err := s.inTx(t.Context(), func(tx *sql.Tx) error {
		r := recorder{tx: tx, dialect: s.dialect, at: now, entries: []*entry{{Recording: &late, owed: new(Owed)}}}
		return errors.Join(r.record(t.Context()), prune())
	})
	if err := errors.Join(err, prune()); err != nil {
		t.Fatal(err)
	}
}
