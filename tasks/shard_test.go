package tasks_test

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/klinghook/klinghook/tasks"
)

func TestEventQueues(t *testing.T) {
	for _, tt := range []struct {
		shards int
		want   []string
	}{
		{0, []string{"events"}},
		{1, []string{"events"}},
		{3, []string{"events", "events-1", "events-2"}},
	} {
		if diff := cmp.Diff(tt.want, tasks.EventQueues(tt.shards)); diff != "" {
			t.Errorf("%d shards (-want +got):\n%s", tt.shards, diff)
		}
	}
	if all := tasks.EventQueues(1000); len(all) != tasks.MaxEventShards || all[63] != "events-63" {
		t.Errorf("%d shards, up to %s", len(all), all[len(all)-1])
	}
	if diff := cmp.Diff([]string{"events", "media", "notify", "rejections", "events-1"}, tasks.AllQueues(2)); diff != "" {
		t.Errorf("all queues (-want +got):\n%s", diff)
	}
}

func TestBaseQueueOfShards(t *testing.T) {
	for queue, want := range map[string]string{
		"events": "events", "events-1": "events", "events-63": "events", "media": "media", "else": "else",
		"events-0": "events-0", "events-01": "events-01", "events-": "events-", "events-x": "events-x", "events--1": "events--1",
	} {
		if got := tasks.BaseQueue(queue); got != want {
			t.Errorf("BaseQueue(%s) = %s, want %s", queue, got, want)
		}
	}
}

// slot returns a queue's slot in a Redis cluster: CRC16 (XMODEM) of the hash tag, modulo
// 16384.
func slot(queue string) int {
	var crc uint16
	for _, b := range []byte(queue) {
		crc ^= uint16(b) << 8
		for range 8 {
			if crc&0x8000 != 0 {
				crc = crc<<1 ^ 0x1021
			} else {
				crc <<= 1
			}
		}
	}
	return int(crc) % 16384
}

// In a cluster of three or four masters, as many shards are one on each.
func TestShardsAreOnDifferentMasters(t *testing.T) {
	slots := map[int]string{}
	for _, queue := range tasks.EventQueues(tasks.MaxEventShards) {
		if other, taken := slots[slot(queue)]; taken {
			t.Errorf("%s is in the slot of %s", queue, other)
		}
		slots[slot(queue)] = queue
	}
	for _, masters := range []int{3, 4} {
		on := map[int]bool{}
		for _, queue := range tasks.EventQueues(masters) {
			on[slot(queue)*masters/16384] = true
		}
		if len(on) != masters {
			t.Errorf("%d shards are on masters %v", masters, slices.Sorted(maps.Keys(on)))
		}
	}
}

// ids returns task IDs of both forms: hashes and sequential ids.
func ids(n int) []string {
	var list []string
	for i := range n / 2 {
		list = append(list, "event:record:"+tasks.EventID("klingai", "", fmt.Appendf(nil, "body %d", i)),
			"event:record:"+tasks.EventID("official", fmt.Sprintf("msg_%d", 893605946402811985+i), nil))
	}
	return list
}

// No shard is more than six standard deviations away from its part.
func TestShardsAreEven(t *testing.T) {
	list := ids(100_000)
	for _, shards := range []int{2, 3, 4, 7, 16, 64} {
		counts := make([]int, shards)
		for _, id := range list {
			counts[tasks.ShardOf(id, shards)]++
		}
		want := float64(len(list)) / float64(shards)
		for shard, n := range counts {
			if math.Abs(float64(n)-want) > 6*math.Sqrt(want) {
				t.Errorf("shard %d of %d has %d, want about %.0f", shard, shards, n, want)
			}
		}
	}
}

func TestRepeatedEventMeetsItsTaskInItsShard(t *testing.T) {
	onQueue(t, func(t *testing.T, q queue) {
		const events, shards = 60, 3
		for _, repeat := range []bool{false, true} {
			// Each process has its own client.
			client := tasks.NewShardedClient(q.rdb, shards)
			for i := range events {
				duplicate, err := client.Enqueue(t.Context(), q.record(t, fmt.Sprint(i)))
				if err != nil || duplicate != repeat {
					t.Errorf("event %d: duplicate %t, %v; want %t", i, duplicate, err, repeat)
				}
			}
		}
		total := 0
		for _, name := range tasks.EventQueues(shards) {
			info, err := q.inspector.GetQueueInfo(name)
			if err != nil || info.Pending == 0 {
				t.Fatalf("queue %s: %+v, %v", name, info, err)
			}
			total += info.Pending
		}
		if total != events {
			t.Errorf("%d tasks are in the queues, want %d", total, events)
		}
		ntf, err := tasks.SendNotification("ntf_1", "")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tasks.NewShardedClient(q.rdb, shards).Enqueue(t.Context(), ntf); err != nil {
			t.Fatal(err)
		}
		if info, err := q.inspector.GetQueueInfo(tasks.QueueNotify); err != nil || info.Pending != 1 {
			t.Errorf("notify: %+v, %v; want one", info, err)
		}
	})
}

// known returns the shards of events that are known.
func (q queue) known(t *testing.T) []string {
	t.Helper()
	queues, err := tasks.KnownQueues(t.Context(), q.rdb)
	if err != nil {
		t.Fatal(err)
	}
	return slices.DeleteFunc(queues, func(name string) bool { return tasks.BaseQueue(name) != tasks.QueueEvents })
}

// TestShardsAreFoundAgain holds that shards which no setting names are known while they
// have tasks, also when Redis has lost its list of queues and their clients list them
// no more.
func TestShardsAreFoundAgain(t *testing.T) {
	onQueue(t, func(t *testing.T, q queue) {
		if got := q.known(t); !slices.Equal(got, []string{"events"}) {
			t.Errorf("at first: %q", got)
		}
		// What others have in the list is not ours.
		if err := q.rdb.SAdd(t.Context(), "asynq:queues", "events-64", "events-x", "other").Err(); err != nil {
			t.Fatal(err)
		}
		client := tasks.NewShardedClient(q.rdb, 4)
		q.fill(t, client, 40)
		want := []string{"events", "events-1", "events-2", "events-3"}
		if got := q.known(t); !slices.Equal(got, want) {
			t.Errorf("with four shards: %q", got)
		}
		if err := q.rdb.Del(t.Context(), "asynq:queues").Err(); err != nil {
			t.Fatal(err)
		}
		q.fill(t, client, 41) // no shard is listed by this any more
		if err := tasks.ListQueues(t.Context(), q.rdb, 2); err != nil {
			t.Fatal(err)
		}
		if got := q.known(t); !slices.Equal(got, want) {
			t.Errorf("after the list was lost: %q", got)
		}
		if used, err := tasks.InUse(t.Context(), q.rdb, tasks.EventQueues(8)); err != nil || !slices.Equal(used, want) {
			t.Errorf("in use: %q, %v", used, err)
		}
	})
}

// TestTasksAreFoundInEveryShard holds that a task is not missed, and its ID is freed,
// in whichever shard it is, whatever the settings say now.
func TestTasksAreFoundInEveryShard(t *testing.T) {
	onQueue(t, func(t *testing.T, q queue) {
		list := q.fill(t, tasks.NewShardedClient(q.rdb, 4), 40)
		if missing, err := tasks.Missing(t.Context(), q.rdb, list); err != nil || len(missing) > 0 {
			t.Errorf("%d of %d are missed, %v", len(missing), len(list), err)
		}
		for _, name := range tasks.EventQueues(4) {
			if n, err := q.inspector.ArchiveAllPendingTasks(name); err != nil || n == 0 {
				t.Fatalf("archive %s: %d, %v", name, n, err)
			}
		}
		for i, task := range list {
			free := tasks.Release
			if i%2 == 0 {
				free = tasks.Unarchive
			}
			if err := free(t.Context(), q.rdb, task); err != nil {
				t.Fatal(err)
			}
		}
		if missing, err := tasks.Missing(t.Context(), q.rdb, list); err != nil || len(missing) != len(list) {
			t.Errorf("%d of %d are free, %v", len(missing), len(list), err)
		}
	})
}

// TestLeakedInShards holds that what was archived and no list has is found in a shard.
func TestLeakedInShards(t *testing.T) {
	onQueue(t, func(t *testing.T, q queue) {
		list := q.fill(t, tasks.NewShardedClient(q.rdb, 2), 20)
		for _, name := range tasks.EventQueues(2) {
			if _, err := q.inspector.ArchiveAllPendingTasks(name); err != nil {
				t.Fatal(err)
			}
			if err := q.rdb.Del(t.Context(), "asynq:{"+name+"}:archived").Err(); err != nil {
				t.Fatal(err)
			}
		}
		if n, err := tasks.FindLeaked(t.Context(), q.rdb); err != nil || n != len(list) {
			t.Errorf("%d of %d were found, %v", n, len(list), err)
		}
		if over, err := tasks.Overflow(t.Context(), q.rdb, "events-1", 100); err != nil || len(over) == 0 {
			t.Errorf("events-1 has %d in its overflow, %v", len(over), err)
		}
	})
}

// fill enqueues so many events, and returns their tasks.
func (q queue) fill(t *testing.T, client *tasks.Client, n int) []tasks.Task {
	t.Helper()
	var list []tasks.Task
	for i := range n {
		task := q.record(t, fmt.Sprintf("%d of %d", i, n))
		if _, err := client.Enqueue(t.Context(), task); err != nil {
			t.Fatal(err)
		}
		list = append(list, task)
	}
	return list
}
