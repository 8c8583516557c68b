package dashboard

import (
	"testing"
	"time"

	"github.com/hibiken/asynq"
)

func TestHistoryKeepsAnHour(t *testing.T) {
	var h history
	start := time.Unix(1781080800, 0)
	for i := range 24 * 60 { // every 5 seconds for two hours
		h.add([]*asynq.QueueInfo{
			{Queue: "events", Pending: 1, Scheduled: 2, Retry: 3, Active: 4, ProcessedTotal: i, FailedTotal: i / 2, Latency: time.Second},
			{Queue: "media"},
		}, start.Add(time.Duration(i)*5*time.Second))
	}
	events := h.queues[0]
	first, last := events.Samples[0], events.Samples[len(events.Samples)-1]
	if len(h.queues) != 2 || len(events.Samples) < 239 || len(events.Samples) > 241 {
		t.Fatalf("kept %d queues and %d samples", len(h.queues), len(events.Samples))
	}
	if kept := last.At.Sub(first.At); kept < 59*time.Minute || kept > time.Hour {
		t.Errorf("kept %s", kept)
	}
	want := QueueSample{At: last.At, Waiting: 6, Active: 4, Oldest: time.Second, Runs: last.Runs, Failures: last.Runs / 2}
	if last != want || last.Runs-first.Runs != int(last.At.Sub(first.At)/(5*time.Second)) {
		t.Errorf("the last sample is %+v after %+v", last, first)
	}
	h.add([]*asynq.QueueInfo{{Queue: "media"}}, start.Add(3*time.Hour))
	if len(h.queues) != 1 || len(h.queues[0].Samples) != 1 {
		t.Errorf("later there are %+v", h.queues)
	}
}
