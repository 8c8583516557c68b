package backlog

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/hibiken/asynq"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"

	"github.com/klinghook/klinghook/internal/store"
	"github.com/klinghook/klinghook/internal/testenv"
	"github.com/klinghook/klinghook/tasks"
)

func TestMain(m *testing.M) { testenv.Main(m) }

// counts is a store that counts what it is told to.
type counts func(context.Context) (store.Counts, error)

func (c counts) Counts(ctx context.Context) (store.Counts, error) { return c(ctx) }

// gathered returns the value of every series of ours, by name and labels.
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

// TestQueues puts tasks of every state that does not need a worker into a real queue.
func TestQueues(t *testing.T) {
	rdb := redis.NewClient(&redis.Options{Addr: testenv.Redis(t).Addr()})
	defer rdb.Close()
	client, inspector := asynq.NewClientFromRedisClient(rdb), asynq.NewInspectorFromRedisClient(rdb)
	for i := range 5 {
		options := []asynq.Option{asynq.Queue(tasks.QueueMedia), asynq.TaskID(fmt.Sprint("t", i))}
		if i >= 3 {
			options = append(options, asynq.ProcessIn(time.Hour))
		}
		if _, err := client.Enqueue(asynq.NewTask("media:download", nil), options...); err != nil {
			t.Fatal(err)
		}
	}
	if err := inspector.ArchiveTask(tasks.QueueMedia, "t0"); err != nil {
		t.Fatal(err)
	}
	// A shard that has been left behind when there were more.
	if _, err := client.Enqueue(asynq.NewTask("event:record", nil), asynq.Queue("events-3")); err != nil {
		t.Fatal(err)
	}
	if err := inspector.PauseQueue(tasks.QueueMedia); err != nil {
		t.Fatal(err)
	}
	// The oldest pending task is an hour old, and a scheduled one has been due for a minute.
	hash := "asynq:{" + tasks.QueueMedia + "}:t:t1"
	if err := rdb.HSet(t.Context(), hash, "pending_since", time.Now().Add(-time.Hour).UnixNano()).Err(); err != nil {
		t.Fatal(err)
	}
	due := redis.Z{Score: float64(time.Now().Add(-time.Minute).Unix()), Member: "t3"}
	if err := rdb.ZAdd(t.Context(), "asynq:{"+tasks.QueueMedia+"}:scheduled", due).Err(); err != nil {
		t.Fatal(err)
	}

	c := New(t.Context(), Config{Redis: rdb, EventShards: 2, Log: zap.NewNop()})
	got := gathered(t, c)
	for series, want := range map[string]float64{
		"klinghook_queue_up{}":                               1,
		"klinghook_queue_tasks{media,pending}":               2,
		"klinghook_queue_tasks{media,scheduled}":             2,
		"klinghook_queue_tasks{media,archived}":              1,
		"klinghook_queue_tasks{media,active}":                0,
		"klinghook_queue_tasks{media,completed}":             0,
		"klinghook_queue_tasks{events,pending}":              0, // which has never had a task
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
	if _, ok := got["klinghook_queue_tasks{events-2,pending}"]; ok {
		t.Error("it tells of a shard that no setting names and that is not there")
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
		t.Error("it tells of a database, and has none")
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}

// TestRedisAway checks that a scrape has the rest when Redis does not answer.
func TestRedisAway(t *testing.T) {
	rdb := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1", MaxRetries: -1, DialerRetries: 1})
	defer rdb.Close()
	c := New(t.Context(), Config{Redis: rdb, Log: zap.NewNop(), Store: counts(func(context.Context) (store.Counts, error) {
		return store.Counts{
			Jobs: map[tasks.Status]int{"completed": 7}, DeadLetters: map[tasks.Kind]int{"notify:send": 2},
			Events: 3, Media: 4, Notifications: 5,
		}, nil
	})})
	defer c.Close()
	want := map[string]float64{
		"klinghook_queue_up{}": 0, "klinghook_database_up{}": 1, "klinghook_jobs{completed}": 7, "klinghook_dead_letters{notify:send}": 2,
		"klinghook_owed{events}": 3, "klinghook_owed{media}": 4, "klinghook_owed{notifications}": 5,
	}
	if got := gathered(t, c); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestDatabaseAway(t *testing.T) {
	rdb := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1", MaxRetries: -1, DialerRetries: 1})
	defer rdb.Close()
	c := New(t.Context(), Config{Redis: rdb, Log: zap.NewNop(), Store: counts(func(context.Context) (store.Counts, error) {
		return store.Counts{}, errors.New("down")
	})})
	defer c.Close()
	if got := gathered(t, c); len(got) != 2 || got["klinghook_database_up{}"] != 0 {
		t.Errorf("got %v, want that both are away", got)
	}
}

func TestNames(t *testing.T) {
	rdb := redis.NewClient(&redis.Options{Addr: testenv.Redis(t).Addr()})
	defer rdb.Close()
	c := New(t.Context(), Config{Redis: rdb, Log: zap.NewNop(), Store: counts(func(context.Context) (store.Counts, error) { return store.Counts{}, nil })})
	defer c.Close()
	problems, err := testutil.CollectAndLint(c)
	if err != nil || len(problems) > 0 {
		t.Errorf("problems %v, %v", problems, err)
	}
}
