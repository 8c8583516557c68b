package tasks_test

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/alicebob/miniredis/v2"
	"github.com/google/go-cmp/cmp"
	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"github.com/klinghook/klinghook/internal/testenv"
	"github.com/klinghook/klinghook/tasks"
)

// queue is a Redis with its client and inspector.
type queue struct {
	rdb       redis.UniversalClient
	client    *tasks.Client
	inspector *asynq.Inspector
}

// onQueue runs a test on every kind of Redis.
func onQueue(t *testing.T, f func(t *testing.T, q queue)) {
	t.Helper()
	run := func(t *testing.T, rdb redis.UniversalClient) {
		t.Helper()
		t.Cleanup(func() { _ = rdb.Close() })
		f(t, queue{rdb: rdb, client: tasks.NewClient(rdb), inspector: asynq.NewInspectorFromRedisClient(rdb)})
	}
	t.Run("redis", func(t *testing.T) { run(t, redis.NewClient(&redis.Options{Addr: testenv.Redis(t).Addr()})) })
	t.Run("miniredis", func(t *testing.T) { run(t, redis.NewClient(&redis.Options{Addr: miniredis.RunT(t).Addr()})) })
	t.Run("cluster", func(t *testing.T) {
		run(t, redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{testenv.Redis(t, testenv.WithCluster()).Addr()}}))
	})
}

// record returns an event's task.
func (queue) record(t *testing.T, id string) tasks.Task {
	t.Helper()
	ev := goldenEvent()
	ev.ID = "klingai:" + id
	task, err := tasks.RecordEvent(ev)
	testenv.NoError(t, err)
	return task
}

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

// In a cluster of three or four masters, the same number of shards uses all of them.
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

func TestRepeatedEventIsADuplicateInItsShard(t *testing.T) {
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
		ntf, err := tasks.SendNotification("ntf_1", tasks.JobKey{})
		testenv.NoError(t, err)
		if _, err := tasks.NewShardedClient(q.rdb, shards).Enqueue(t.Context(), ntf); err != nil {
			t.Fatal(err)
		}
		if info, err := q.inspector.GetQueueInfo(tasks.QueueNotify); err != nil || info.Pending != 1 {
			t.Errorf("notify: %+v, %v; want one", info, err)
		}
	})
}
