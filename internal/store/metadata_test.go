package store_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/klinghook/klinghook/internal/store"
	"github.com/klinghook/klinghook/internal/testenv"
	"github.com/klinghook/klinghook/tasks"
)

// message is metadata that a program sends, or an event.
type message struct {
	second int // when it is sent
	m      tasks.Metadata
	event  *occurrence
}

func (m message) deliver(t *testing.T, db *store.Store, job string) {
	if m.event != nil {
		ev, update := m.event.record(job)
		_, err := recordOne(t.Context(), db, ev, update, nil)
		if err != nil {
			t.Error(err)
		}
		return
	}
	if _, err := db.Track(t.Context(), tasks.KlingJob(job), m.m, received.Add(time.Duration(m.second)*time.Second)); err != nil {
		t.Error(err)
	}
}

func text(s string) *string { return &s }

// A job's metadata does not depend on the order and repeats of requests and events.
func TestMetadataDoesNotDependOnOrder(t *testing.T) {
	tests := []struct {
		name     string
		messages []message
		want     store.Job // the compared fields
	}{
		{
			"before and after events", []message{
				{second: 1, m: tasks.Metadata{Prompt: text("a cat"), Tags: []string{"blue", "test"}, ExpectedCost: &tasks.Cost{Amount: "0.35", Unit: "USD"}}},
				{event: &occurrence{id: "a", status: "created"}},
				{second: 2, m: tasks.Metadata{Model: text("v1"), Tags: []string{"green"}, Custom: json.RawMessage(`{"order":1.0}`)}},
				{event: &occurrence{id: "b", minute: 1, status: "processing", progress: 10}},
			},
			store.Job{Prompt: "a cat", Model: "v1", Tags: []string{"green"}, ExpectedCost: tasks.Cost{Amount: "0.35", Unit: "USD"}, Metadata: json.RawMessage(`{"order":1.0}`)},
		},
		{
			"Kling's own words win", []message{
				{second: 1, m: tasks.Metadata{Prompt: text("mine"), Model: text("mine"), Source: text("mine"), ExternalID: text("mine")}},
				{event: &occurrence{id: "a", status: "created", prompt: "Kling's"}},
				{event: &occurrence{id: "b", minute: 1, status: "failed", reason: "busy"}},
			},
			store.Job{Prompt: "Kling's", Model: "mine", ExternalID: "mine"},
		},
		{
			"taken back", []message{
				{second: 1, m: tasks.Metadata{Prompt: text("a"), Tags: []string{"x"}, ExpectedCost: &tasks.Cost{Amount: "1", Unit: "unit"}, Custom: json.RawMessage(`{"a":1}`)}},
				{second: 2, m: tasks.Metadata{Prompt: text(""), Tags: []string{}, ExpectedCost: &tasks.Cost{}, Custom: json.RawMessage(`{}`)}},
				{second: 0, m: tasks.Metadata{Model: text("early")}},
				{event: &occurrence{id: "a", status: "created"}},
			},
			store.Job{Model: "early"},
		},
		{
			"at the same instant", []message{
				{m: tasks.Metadata{Prompt: text("one"), Tags: []string{"one"}}},
				{m: tasks.Metadata{Prompt: text("two"), Tags: []string{"two"}}},
				{m: tasks.Metadata{Model: text("three")}},
			},
			store.Job{Prompt: "one", Model: "three", Tags: []string{"one"}},
		},
	}
	onBoth(t, func(t *testing.T, db *store.Store) {
		for _, tt := range tests {
			for i, order := range permutations(tt.messages) {
				for _, together := range []bool{false, true} {
					job := fmt.Sprintf("%s-%d-%t", tt.name, i, together)
					var group sync.WaitGroup
					for _, s := range slices.Concat(order, order) {
						if together {
							group.Go(func() { s.deliver(t, db, job) })
						} else {
							s.deliver(t, db, job)
						}
					}
					group.Wait()
					checkMetadata(t, db, job, tt.want)
				}
			}
		}
	})
}

// checkMetadata compares a job's metadata, and checks that the job is found by its tags.
func checkMetadata(t *testing.T, db *store.Store, id string, want store.Job) {
	t.Helper()
	job, err := db.Job(t.Context(), tasks.KlingJob(id))
	testenv.NoError(t, err)
	got := store.Job{Prompt: job.Prompt, Model: job.Model, ExternalID: job.ExternalID, Tags: job.Tags, ExpectedCost: job.ExpectedCost, Metadata: job.Metadata}
	if len(got.Tags) == 0 {
		got.Tags = nil
	}
	if diff := gocmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", id, diff)
	}
	for _, tag := range []string{"blue", "green", "one", "two", "x"} {
		jobs, err := db.Jobs(t.Context(), store.JobFilter{Tag: tag})
		testenv.NoError(t, err)
		found := slices.ContainsFunc(jobs, func(job store.Job) bool { return job.Key.ID == id })
		if found != slices.Contains(want.Tags, tag) {
			t.Errorf("%s is found by the tag %s: %t", id, tag, found)
		}
	}
}

func TestMetadataMovesFromTheCreatorsNameToTheJob(t *testing.T) {
	onBoth(t, func(t *testing.T, db *store.Store) {
		ctx := t.Context()
		track := func(id string, m tasks.Metadata, second int) {
			t.Helper()
			_, err := db.Track(ctx, tasks.KlingJob(id), m, received.Add(time.Duration(second)*time.Second))
			testenv.NoError(t, err)
		}
		track("mine-1", tasks.Metadata{Prompt: text("a cat"), Model: text("old"), Tags: []string{"blue"}}, 1)
		track("881", tasks.Metadata{Model: text("new")}, 2)
		for range 2 {
			testenv.NoError(t, db.FoundByAnotherName(ctx, store.Lookup{Job: tasks.KlingJob("mine-1"), HeardAt: received}, "881", ""))
		}
		checkMetadata(t, db, "881", store.Job{Prompt: "a cat", Model: "new", Tags: []string{"blue"}})
		if jobs, err := db.Jobs(ctx, store.JobFilter{}); err != nil || len(jobs) != 1 {
			t.Errorf("jobs are %+v, %v; want one", jobs, err)
		}
	})
}
