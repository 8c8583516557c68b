package tasks_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"github.com/klinghook/klinghook/tasks"
)

// everyKind returns a task of each kind, with a trace and without.
func everyKind(t *testing.T) []tasks.Task {
	t.Helper()
	record, err := tasks.RecordEvent(goldenEvent())
	if err != nil {
		t.Fatal(err)
	}
	list := []tasks.Task{record}
	for _, p := range tasks.Policies() {
		list = append(list, tasks.Task{Kind: p.Kind, ID: string(p.Kind) + ":plain", Payload: []byte(`{"a":"ü"}`)},
			tasks.Task{Kind: p.Kind, ID: string(p.Kind) + ":empty"},
			tasks.Task{Kind: p.Kind, ID: string(p.Kind) + ":traced", Payload: []byte(`{}`), Trace: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"},
			tasks.Task{Kind: p.Kind, ID: string(p.Kind) + ":long", Payload: []byte(fmt.Sprintf("%0100000d", 7))})
	}
	return list
}

// hash returns what Redis has of a task, but for the time.
func hash(t *testing.T, rdb *redis.Client, queue, id string) map[string]string {
	t.Helper()
	fields, err := rdb.HGetAll(t.Context(), "asynq:{"+queue+"}:t:"+id).Result()
	if err != nil {
		t.Fatal(err)
	}
	if len(fields["pending_since"]) != len("1700000000000000000") {
		t.Errorf("%s waits since %q, want nanoseconds", id, fields["pending_since"])
	}
	delete(fields, "pending_since")
	return fields
}

// TestBulkIsAsynqs holds that what Bulk leaves in Redis is what asynq's client leaves:
// the same message, byte for byte, and the same state, under the same keys.
func TestBulkIsAsynqs(t *testing.T) {
	onRedis(t, func(t *testing.T, rdb *redis.Client) {
		client, bulk := tasks.NewClient(rdb), tasks.NewBulk(rdb)
		for _, task := range everyKind(t) {
			message, err := tasks.NewMessage(task)
			if err != nil {
				t.Fatal(err)
			}
			var left []map[string]string
			for _, enqueue := range []func() error{
				func() error { _, err := client.Enqueue(t.Context(), task); return err },
				func() error { _, err := bulk.Enqueue(t.Context(), []tasks.Message{message}); return err },
			} {
				if err := enqueue(); err != nil {
					t.Fatal(err)
				}
				state := hash(t, rdb, message.Queue, task.ID)
				keys, err := rdb.Keys(t.Context(), "*").Result()
				if err != nil {
					t.Fatal(err)
				}
				slices.Sort(keys)
				state["keys"] = fmt.Sprint(keys)
				state["pending"] = fmt.Sprint(rdb.LRange(t.Context(), tasks.PendingKey(message.Queue), 0, -1).Val())
				state["queues"] = fmt.Sprint(rdb.SMembers(t.Context(), "asynq:queues").Val())
				left = append(left, state)
				if err := rdb.Del(t.Context(), keys...).Err(); err != nil {
					t.Fatal(err)
				}
				// Each lists a queue once.
				client, bulk = tasks.NewClient(rdb), tasks.NewBulk(rdb)
			}
			if diff := cmp.Diff(left[0], left[1]); diff != "" {
				t.Errorf("%s (-asynq +bulk):\n%s", task.ID, diff)
			}
		}
	})
}

func TestUnknownKindIsNoMessage(t *testing.T) {
	if _, err := tasks.NewMessage(tasks.Task{Kind: "no:such", ID: "1"}); err == nil {
		t.Error("a task of an unknown kind was encoded")
	}
}

// messages are of tasks with these numbers.
func messages(t *testing.T, numbers ...int) []tasks.Message {
	t.Helper()
	var list []tasks.Message
	for _, n := range numbers {
		m, err := tasks.NewMessage(tasks.Task{Kind: tasks.KindEventRecord, ID: fmt.Sprintf("event:record:%d", n), Payload: []byte(`{}`)})
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, m)
	}
	return list
}

// TestBulkKnowsDuplicates holds that of tasks with one ID the first is enqueued,
// within one call and over several, and whatever state it is in by then.
func TestBulkKnowsDuplicates(t *testing.T) {
	onRedis(t, func(t *testing.T, rdb *redis.Client) {
		bulk, inspector := tasks.NewBulk(rdb), asynq.NewInspectorFromRedisClient(rdb)
		steps := []struct {
			name    string
			numbers []int
			want    []bool
		}{
			{"all new", []int{1, 2, 3}, []bool{false, false, false}},
			{"some new", []int{4, 2, 5}, []bool{false, true, false}},
			{"twice in one call", []int{6, 6, 7, 6}, []bool{false, true, false, true}},
			{"twice beside an old one", []int{1, 8, 8}, []bool{true, false, true}},
			{"all old", []int{1, 8}, []bool{true, true}},
			{"alone", []int{9}, []bool{false}},
			{"none", nil, nil},
		}
		for _, step := range steps {
			got, err := bulk.Enqueue(t.Context(), messages(t, step.numbers...))
			if err != nil || !slices.Equal(got, step.want) {
				t.Errorf("%s: %v, %v; want %v", step.name, got, err, step.want)
			}
		}
		if err := inspector.ArchiveTask(tasks.QueueEvents, "event:record:3"); err != nil {
			t.Fatal(err)
		}
		if got, err := bulk.Enqueue(t.Context(), messages(t, 3, 10)); err != nil || !slices.Equal(got, []bool{true, false}) {
			t.Errorf("archived: %v, %v", got, err)
		}
		// The first to come is the last of the list, and the first to be run.
		got := rdb.LRange(t.Context(), tasks.PendingKey(tasks.QueueEvents), 0, -1).Val()
		var want []string
		for _, n := range []int{10, 9, 8, 7, 6, 5, 4, 2, 1} {
			want = append(want, fmt.Sprintf("event:record:%d", n))
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("pending (-want +got):\n%s", diff)
		}
	})
}

// TestLargestBulk holds that Redis takes as many as MaxBulk says.
func TestLargestBulk(t *testing.T) {
	onRedis(t, func(t *testing.T, rdb *redis.Client) {
		numbers := make([]int, tasks.MaxBulk)
		for i := range numbers {
			numbers[i] = i
		}
		got, err := tasks.NewBulk(rdb).Enqueue(t.Context(), messages(t, numbers...))
		if err != nil || len(got) != tasks.MaxBulk || slices.Contains(got, true) {
			t.Errorf("%d answers, %v; want as many new tasks", len(got), err)
		}
		if n := rdb.LLen(t.Context(), tasks.PendingKey(tasks.QueueEvents)).Val(); n != tasks.MaxBulk {
			t.Errorf("%d tasks wait, want %d", n, tasks.MaxBulk)
		}
	})
}
