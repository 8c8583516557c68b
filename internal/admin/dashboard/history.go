package dashboard

import (
	"sync"
	"time"

	"github.com/hibiken/asynq"
)

const (
	// sampleEvery is the minimum time between two samples of a queue.
	sampleEvery = 15 * time.Second
	// sampleLife is how long samples are kept.
	sampleLife = time.Hour
)

// QueueSample is the state of a queue at one time.
type QueueSample struct {
	At time.Time
	// Waiting are the tasks that are pending, scheduled or will be retried; Active run.
	Waiting, Active int
	// Oldest is the age of the oldest pending task.
	Oldest time.Duration
	// Runs and Failures count all attempts so far, on any machine. Runs include Failures.
	Runs, Failures int
}

// sampleOf returns the state of a queue.
func sampleOf(info *asynq.QueueInfo, at time.Time) QueueSample {
	return QueueSample{
		At: at, Waiting: info.Pending + info.Scheduled + info.Retry, Active: info.Active,
		Oldest: info.Latency, Runs: info.ProcessedTotal, Failures: info.FailedTotal,
	}
}

// QueueHistory is a queue with its samples of the last hour.
type QueueHistory struct {
	// Info is the last reading.
	Info *asynq.QueueInfo
	// Samples are at least 15 seconds apart, oldest first.
	Samples []QueueSample
}

// history keeps the samples of the last hour.
type history struct {
	mu     sync.Mutex // guards queues
	queues []QueueHistory
}

// add adds a reading of all queues.
func (h *history) add(infos []*asynq.QueueInfo, at time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	before := map[string][]QueueSample{}
	for _, queue := range h.queues {
		before[queue.Info.Queue] = queue.Samples
	}
	// A new list, because readers may still use the old one.
	h.queues = make([]QueueHistory, 0, len(infos))
	for _, info := range infos {
		samples := before[info.Queue]
		for len(samples) > 0 && at.Sub(samples[0].At) > sampleLife {
			samples = samples[1:]
		}
		if n := len(samples); n == 0 || at.Sub(samples[n-1].At) >= sampleEvery {
			samples = append(samples, sampleOf(info, at))
		}
		h.queues = append(h.queues, QueueHistory{Info: info, Samples: samples})
	}
}

// History returns the queues with their samples; nothing before the first reading.
func (b *Backlog) History() []QueueHistory {
	b.history.mu.Lock()
	defer b.history.mu.Unlock()
	return b.history.queues
}
