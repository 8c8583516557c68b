package dashboard

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/hibiken/asynq"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"

	"github.com/klinghook/klinghook/internal/store"
	"github.com/klinghook/klinghook/internal/testenv"
	"github.com/klinghook/klinghook/tasks"
)

// counts is a Counter.
type counts func(context.Context) (store.Counts, error)

func (c counts) Counts(ctx context.Context) (store.Counts, error) { return c(ctx) }

// readOnce returns a Backlog after its first readings.
func readOnce(t *testing.T, cfg BacklogConfig) *Backlog {
	t.Helper()
	cfg.Log = zap.NewNop()
	ctx, cancel := context.WithCancel(t.Context())
	b := NewBacklog(ctx, cfg)
	t.Cleanup(b.Close)
	deadline := time.Now().Add(20 * time.Second)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for now := time.Now(); b.queues.Load() == nil || cfg.Store != nil && b.store.Load() == nil; now = <-tick.C {
		if now.After(deadline) {
			t.Fatal("nothing was read")
		}
	}
	cancel()
	return b
}

// gathered returns the value of every series, by name and labels.
func gathered(t *testing.T, c prometheus.Collector) map[string]float64 {
	t.Helper()
	reg := prometheus.NewPedanticRegistry()
	reg.MustRegister(c)
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]float64{}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			var labels []string
			for _, label := range m.GetLabel() {
				labels = append(labels, label.GetValue())
			}
			values[family.GetName()+"{"+strings.Join(labels, ",")+"}"] = m.GetGauge().GetValue()
		}
	}
	return values
}

func TestQueueMetrics(t *testing.T) {
	rdb := redis.NewClient(&redis.Options{Addr: testenv.Redis(t).Addr()})
	defer rdb.Close()
	client, inspector := asynq.NewClientFromRedisClient(rdb), asynq.NewInspectorFromRedisClient(rdb)
	for i := range 5 {
		options := []asynq.Option{asynq.Queue(tasks.QueueMedia), asynq.TaskID(fmt.Sprint("t", i))}
		if i >= 3 {
			options = append(options, asynq.ProcessIn(time.Hour))
		}
		_, err := client.Enqueue(asynq.NewTask("media:download", nil), options...)
		testenv.NoError(t, err)
	}
	testenv.NoError(t, inspector.ArchiveTask(tasks.QueueMedia, "t0"))
	// A shard left over from a larger number of shards.
	_, err := client.Enqueue(asynq.NewTask("event:record", nil), asynq.Queue("events-3"))
	testenv.NoError(t, err)
	testenv.NoError(t, inspector.PauseQueue(tasks.QueueMedia))
	// The oldest pending task is an hour old, and a scheduled one has been due for a minute.
	hash := "asynq:{" + tasks.QueueMedia + "}:t:t1"
	testenv.NoError(t, rdb.HSet(t.Context(), hash, "pending_since", time.Now().Add(-time.Hour).UnixNano()).Err())
	due := redis.Z{Score: float64(time.Now().Add(-time.Minute).Unix()), Member: "t3"}
	testenv.NoError(t, rdb.ZAdd(t.Context(), "asynq:{"+tasks.QueueMedia+"}:scheduled", due).Err())

	c := readOnce(t, BacklogConfig{Redis: rdb, EventShards: 2})
	got := gathered(t, c)
	for series, want := range map[string]float64{
		"klinghook_queue_up{}":                               1,
		"klinghook_queue_tasks{media,pending}":               2,
		"klinghook_queue_tasks{media,scheduled}":             2,
		"klinghook_queue_tasks{media,archived}":              1,
		"klinghook_queue_tasks{media,active}":                0,
		"klinghook_queue_tasks{media,completed}":             0,
		"klinghook_queue_tasks{events,pending}":              0, // never had a task
		"klinghook_queue_tasks{events-1,pending}":            0,
		"klinghook_queue_tasks{events-3,pending}":            1,
		"klinghook_queue_tasks{rejections,retry}":            0,
		"klinghook_queue_paused{media}":                      1,
		"klinghook_queue_paused{events}":                     0,
		"klinghook_queue_memory_bytes{events}":               0,
		"klinghook_queue_oldest_age_seconds{media,archived}": 0,
	} {
		if value, ok := got[series]; !ok || value != want {
			t.Errorf("%s is %v (there: %t), want %v", series, value, ok, want)
		}
	}
	if list, err := c.History(t.Context()); err != nil || len(list) != 6 || list[1].Info.Queue != tasks.QueueMedia || len(list[1].Samples) != 1 || list[1].Samples[0].Waiting != 4 {
		t.Errorf("the history is %+v, %v", list, err)
	}
	if _, ok := got["klinghook_queue_tasks{events-2,pending}"]; ok {
		t.Error("there is a metric of a shard that does not exist")
	}
	for series, least := range map[string]float64{
		"klinghook_queue_oldest_age_seconds{media,pending}":   3600,
		"klinghook_queue_oldest_age_seconds{media,scheduled}": 60,
		"klinghook_queue_memory_bytes{media}":                 1,
	} {
		if got[series] < least || got[series] > least+1e6 {
			t.Errorf("%s is %v, want %v or a little more", series, got[series], least)
		}
	}
	if _, ok := got["klinghook_database_up{}"]; ok {
		t.Error("there is a metric of a database")
	}
}

func TestStoreMetricsDoNotNeedRedis(t *testing.T) {
	rdb := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1", MaxRetries: -1, DialerRetries: 1})
	defer rdb.Close()
	full := store.Counts{
		Jobs: map[tasks.Status]int{"completed": 7}, DeadLetters: map[tasks.Kind]int{"notify:send": 2},
		Events: 3, Media: 4, Notifications: 5, Paused: 6,
	}
	for _, tt := range []struct {
		err  error
		want map[string]float64
	}{
		{nil, map[string]float64{
			"klinghook_queue_up{}": 0, "klinghook_database_up{}": 1, "klinghook_jobs{completed}": 7, "klinghook_dead_letters{notify:send}": 2,
			"klinghook_owed{events}": 3, "klinghook_owed{media}": 4, "klinghook_owed{notifications}": 5, "klinghook_destinations_paused{}": 6,
		}},
		{errors.New("down"), map[string]float64{"klinghook_queue_up{}": 0, "klinghook_database_up{}": 0}},
	} {
		c := readOnce(t, BacklogConfig{Redis: rdb, Store: counts(func(context.Context) (store.Counts, error) { return full, tt.err })})
		if got := gathered(t, c); !maps.Equal(got, tt.want) {
			t.Errorf("with the error %v: got %v, want %v", tt.err, got, tt.want)
		}
	}
}
