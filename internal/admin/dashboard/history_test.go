package dashboard

import (
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/google/go-cmp/cmp"
	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"github.com/klinghook/klinghook/internal/testenv"
)

func TestProcessesShareAnHourOfHistory(t *testing.T) {
	server := miniredis.RunT(t)
	rdb := redis.NewClient(&redis.Options{Addr: server.Addr()})
	defer func() { _ = rdb.Close() }()
	now := time.Now().UTC()
	for i := range 24 * 60 { // two processes, every 5 seconds for two hours
		for range 2 {
			testenv.NoError(t, keepSample(t.Context(), rdb, []*asynq.QueueInfo{
				{Queue: "events", Pending: 1, Scheduled: 2, Retry: 3, Active: 4, ProcessedTotal: i, FailedTotal: i / 2, Latency: time.Second},
				{Queue: "media"},
			}, now.Add(time.Duration(i-24*60+1)*5*time.Second)))
		}
		server.FastForward(5 * time.Second)
	}
	later := &Backlog{cfg: BacklogConfig{Redis: rdb}} // in a new process
	if list, err := later.History(t.Context()); err != nil || list != nil {
		t.Errorf("before its first reading: %v, %v", list, err)
	}
	infos := []*asynq.QueueInfo{{Queue: "events"}, {Queue: "media"}, {Queue: "new"}}
	later.infos.Store(&infos)
	list, err := later.History(t.Context())
	testenv.NoError(t, err)
	if len(list) != 3 || len(list[1].Samples) != len(list[0].Samples) || len(list[2].Samples) != 0 {
		t.Fatalf("%d queues: %+v", len(list), list)
	}
	samples := list[0].Samples
	first, last := samples[0], samples[len(samples)-1]
	if len(samples) < 238 || len(samples) > 241 || last.At.Sub(first.At) < 59*time.Minute {
		t.Errorf("%d samples from %s to %s, want an hour", len(samples), first.At, last.At)
	}
	want := QueueSample{At: last.At, Waiting: 6, Active: 4, Oldest: time.Second, Runs: last.Runs, Failures: last.Runs / 2}
	if diff := cmp.Diff(want, last); diff != "" || last.Runs-first.Runs != int(last.At.Sub(first.At)/(5*time.Second)) {
		t.Errorf("the last sample after %+v (-want +got):\n%s", first, diff)
	}
	server.FastForward(time.Hour)
	if list, err = later.History(t.Context()); err != nil || len(list[0].Samples) > 0 {
		t.Errorf("an hour later: %+v, %v", list, err)
	}
}
