package dashboard

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"
)

const (
	// sampleEvery is the time between two samples of the queues, about.
	sampleEvery = 15 * time.Second
	// sampleLife is how long samples are kept.
	sampleLife = time.Hour
	// historyKey is the Redis list of samples, and historyTurn exists while none is due.
	historyKey  = "klinghook:queue-history"
	historyTurn = historyKey + ":turn"
)

// QueueSample is the state of a queue at one time.
type QueueSample struct {
	At time.Time `json:"-"`
	// Waiting are the tasks that are pending, scheduled or will be retried; Active run.
	Waiting int `json:"w,omitempty"`
	Active  int `json:"a,omitempty"`
	// Oldest is the age of the oldest pending task.
	Oldest time.Duration `json:"o,omitempty"`
	// Runs and Failures count all attempts so far, on any machine. Runs include Failures.
	Runs     int `json:"r,omitempty"`
	Failures int `json:"f,omitempty"`
}

// sampleOf returns the state of a queue.
func sampleOf(info *asynq.QueueInfo, at time.Time) QueueSample {
	return QueueSample{
		At: at, Waiting: info.Pending + info.Scheduled + info.Retry, Active: info.Active,
		Oldest: info.Latency, Runs: info.ProcessedTotal, Failures: info.FailedTotal,
	}
}

// sample is the state of all queues in Redis.
type sample struct {
	At     time.Time              `json:"at"`
	Queues map[string]QueueSample `json:"queues"`
}

// keepSample adds a sample of the queues to those in Redis, unless another process has just
// done so.
func keepSample(ctx context.Context, rdb redis.UniversalClient, infos []*asynq.QueueInfo, at time.Time) error {
	due, err := rdb.SetNX(ctx, historyTurn, 1, sampleEvery-time.Second).Result()
	if err != nil {
		return fmt.Errorf("keep sample of queues: %w", err)
	}
	if !due {
		return nil
	}
	now := sample{At: at, Queues: make(map[string]QueueSample, len(infos))}
	for _, info := range infos {
		now.Queues[info.Queue] = sampleOf(info, at)
	}
	text, err := json.Marshal(now)
	if err == nil {
		_, err = rdb.Pipelined(ctx, func(pipe redis.Pipeliner) error {
			pipe.RPush(ctx, historyKey, text)
			pipe.LTrim(ctx, historyKey, -int64(sampleLife/sampleEvery)-1, -1)
			pipe.Expire(ctx, historyKey, sampleLife)
			return nil
		})
	}
	if err != nil {
		return fmt.Errorf("keep sample of queues: %w", err)
	}
	return nil
}

// QueueHistory is a queue with its samples of the last hour.
type QueueHistory struct {
	// Info is the last reading.
	Info *asynq.QueueInfo
	// Samples are about 15 seconds apart, oldest first. Any worker or admin process took them.
	Samples []QueueSample
}

// History returns the queues with their samples; nothing before the first reading. If
// Redis fails, they have no samples.
func (b *Backlog) History(ctx context.Context) ([]QueueHistory, error) {
	infos := b.infos.Load()
	if infos == nil {
		return nil, nil
	}
	texts, err := b.cfg.Redis.LRange(ctx, historyKey, 0, -1).Result()
	if err != nil {
		err = fmt.Errorf("read samples of queues: %w", err)
	}
	samples := make(map[string][]QueueSample)
	for _, text := range texts {
		var at sample
		if json.Unmarshal([]byte(text), &at) != nil || time.Since(at.At) > sampleLife {
			continue // of another version, or too old
		}
		for name, queue := range at.Queues {
			queue.At = at.At
			samples[name] = append(samples[name], queue)
		}
	}
	for _, list := range samples { // of processes whose clocks may differ
		slices.SortStableFunc(list, func(a, b QueueSample) int { return a.At.Compare(b.At) })
	}
	list := make([]QueueHistory, len(*infos))
	for i, info := range *infos {
		list[i] = QueueHistory{info, samples[info.Queue]}
	}
	return list, err
}
