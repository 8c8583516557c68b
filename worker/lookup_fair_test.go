package worker_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"

	"github.com/klinghook/klinghook/internal/kling"
	"github.com/klinghook/klinghook/internal/source"
	"github.com/klinghook/klinghook/tasks"
)

func TestFailingLookupsDoNotDelayOthers(t *testing.T) {
	w := newLookupFixture(t, miniredis.RunT(t).Addr())
	trouble := &kling.APIError{Status: http.StatusInternalServerError, Code: 5000}
	w.kling.troubles = map[string]error{"stale-poison": trouble, "named-poison": trouble}
	w.deliver(t, source.CallbackName, "", source.TypeCallback, "named-poison", `{"task_id":"named-poison","task_status":"succeed"}`)
	w.deliver(t, source.CallbackName, "", source.TypeCallback, "named", `{"task_id":"named","task_status":"succeed"}`)
	w.work(t)
	w.kling.legacy["named"] = `{"task_id":"named","task_status":"processing"}`
	w.track(t, "stale-poison", "text2video")
	w.pass(time.Second)
	for n := range 20 {
		id := fmt.Sprintf("stale-%d", n)
		w.track(t, id, "text2video")
		w.kling.legacy[id] = fmt.Sprintf(`{"task_id":%q,"task_status":"processing"}`, id)
	}
	w.pass(16 * time.Minute)
	w.kling.taken()
	// Two minutes, with a pause of a few seconds after each failure.
	for range 120 {
		_ = w.worker.LookUp(t.Context()) // the failing job's error
		w.pass(time.Second)
	}
	asked := map[string]int{}
	for _, what := range w.kling.taken() {
		asked[strings.TrimPrefix(what, "legacy ")]++
	}
	for n := range 20 {
		if id := fmt.Sprintf("stale-%d", n); asked[id] != 1 {
			t.Errorf("%s was asked about %d times, want once", id, asked[id])
		}
	}
	if asked["named"] != 1 {
		t.Errorf("Kling was asked about the named job %d times, want once", asked["named"])
	}
	for _, id := range []string{"stale-poison", "named-poison"} {
		if n := asked[id]; n < 2 || n > 30 {
			t.Errorf("%s was asked about %d times, want 2 to 30", id, n)
		}
	}
}

func TestMadeUpJobsDoNotDelayKnownJobs(t *testing.T) {
	w := newLookupFixture(t, miniredis.RunT(t).Addr())
	for n := range 200 {
		id := fmt.Sprintf("made-up-%d", n)
		w.deliver(t, source.CallbackName, "", source.TypeCallback, id, fmt.Sprintf(`{"task_id":%q,"task_status":"succeed"}`, id))
	}
	w.track(t, "silent", "text2video")
	w.track(t, "called", "text2video")
	w.deliver(t, source.CallbackName, "", source.TypeCallback, "called", `{"task_id":"called","task_status":"succeed"}`)
	w.work(t)
	w.pass(16 * time.Minute)
	w.lookUp(t)
	asked := w.kling.taken()
	for _, id := range []string{"silent", "called"} {
		if at := slices.Index(asked, "legacy "+id); at < 0 || at > 3 {
			t.Errorf("%s was asked about after %d others, want nearly at once", id, at)
		}
	}
	// Once the known jobs are done, the made-up ones have their turn.
	for range 10 {
		w.pass(time.Second)
		w.lookUp(t)
	}
	if n := len(w.kling.taken()) + len(asked); n != 202 {
		t.Errorf("Kling was asked %d times, want once for each of 202 ids", n)
	}
}

func TestLookupFindsJobByItsExternalID(t *testing.T) {
	w := newLookupFixture(t, miniredis.RunT(t).Addr())
	w.track(t, "mine-1", "text2video")
	w.kling.legacy["881"] = `{"task_id":"881","task_status":"processing","updated_at":1736936700000,"task_info":{"external_task_id":"mine-1"}}`
	w.kling.names = map[string]string{"mine-1": "881"}
	w.pass(16 * time.Minute)
	w.lookUp(t)
	w.work(t)
	if j := w.job(t, "881"); j.Status != tasks.StatusProcessing || j.ExternalID != "mine-1" {
		t.Errorf("job is %s of %q", j.Status, j.ExternalID)
	}
	w.checkJob(t, "mine-1", "")
	w.kling.taken()
	w.pass(16 * time.Minute)
	w.lookUp(t)
	w.checkAsked(t, "legacy 881")
}

func TestLookupsCountAsOnForADay(t *testing.T) {
	server := miniredis.RunT(t)
	w := newLookupFixture(t, server.Addr())
	for after, want := range map[time.Duration]bool{time.Hour: true, 25 * time.Hour: false} {
		w.lookUp(t)
		server.FastForward(after)
		if on, err := tasks.LookupsOn(t.Context(), w.redis); err != nil || on != want {
			t.Errorf("%s after the last worker look-ups are on: %t, %v; want %t", after, on, err, want)
		}
	}
}
