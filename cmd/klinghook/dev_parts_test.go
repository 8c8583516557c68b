package main

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/klinghook/klinghook/config"
	"github.com/klinghook/klinghook/internal/store"
	"github.com/klinghook/klinghook/internal/testenv"
	"github.com/klinghook/klinghook/tasks"
)

func TestUnverifiedDeliveriesAreOnLoopbackUnlessAnAddressIsGiven(t *testing.T) {
	tests := []struct {
		name    string
		environ []string
		flags   map[string]string
		want    string
	}{
		{"nothing given", nil, nil, "127.0.0.1:5000"},
		{"the default given", []string{"KLINGHOOK_ADDR=:5000"}, nil, ":5000"},
		{"a flag", nil, map[string]string{"KLINGHOOK_ADDR": "0.0.0.0:80"}, "0.0.0.0:80"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg, err := config.Load(config.Dev, tt.environ, tt.flags, nil)
			testenv.NoError(t, err)
			if got := unverifiedAddr(cfg); got != tt.want {
				t.Errorf("address %s, want %s", got, tt.want)
			}
		})
	}
}

func TestReachable(t *testing.T) {
	for addr, want := range map[string]string{
		":5000":          "localhost:5000",
		"0.0.0.0:5000":   "localhost:5000",
		"[::]:5000":      "localhost:5000",
		"127.0.0.1:5000": "127.0.0.1:5000",
		"10.1.2.3:5000":  "10.1.2.3:5000",
		"[::1]:5000":     "[::1]:5000",
		"localhost:5000": "localhost:5000",
		"proxy:5000":     "proxy:5000",
		"odd":            "odd",
	} {
		if got := reachable(addr); got != want {
			t.Errorf("reachable(%q) = %q, want %q", addr, got, want)
		}
	}
}

// A sweep may enqueue an event between the steps of storeFirst.
func TestStoreFirstTellsRepeatsFromSweptEvents(t *testing.T) {
	db, err := store.Create(t.Context(), "sqlite:"+filepath.Join(t.TempDir(), "k.db"))
	testenv.NoError(t, err)
	defer func() { testenv.NoError(t, db.Close()) }()
	_, err = db.Migrate(t.Context())
	testenv.NoError(t, err)
	client := redis.NewClient(&redis.Options{Addr: miniredis.RunT(t).Addr()})
	defer func() { testenv.NoError(t, client.Close()) }()
	queue := tasks.NewClient(client)
	task, err := tasks.RecordEvent(tasks.Event{ID: "klingai:e", Source: "klingai", Job: tasks.KlingJob("vid_1"), ReceivedAt: time.Now()})
	testenv.NoError(t, err)
	if duplicate, err := queue.Enqueue(t.Context(), task); err != nil || duplicate {
		t.Fatalf("enqueued: %t, %v", duplicate, err)
	}
	for _, want := range []bool{false, true} {
		if duplicate, err := (storeFirst{db, queue}).Enqueue(t.Context(), task); err != nil || duplicate != want {
			t.Errorf("duplicate = %t, %v; want %t", duplicate, err, want)
		}
	}
}

func TestKeysOfEmbeddedRedisExpire(t *testing.T) {
	server, err := startEmbeddedRedis()
	testenv.NoError(t, err)
	defer func() { testenv.NoError(t, server.close()) }()
	opts, err := redis.ParseURL(server.url)
	testenv.NoError(t, err)
	client := redis.NewClient(opts)
	defer func() { testenv.NoError(t, client.Close()) }()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	testenv.NoError(t, client.Set(ctx, "kept", 1, time.Hour).Err())
	testenv.NoError(t, client.Set(ctx, "expired", 1, time.Millisecond).Err())
	for n := int64(1); n > 0; {
		n, err = client.Exists(ctx, "expired").Result()
		testenv.NoError(t, err)
	}
	if ttl, err := client.TTL(ctx, "kept").Result(); err != nil || ttl > time.Hour-time.Second/2 {
		t.Errorf("the other key expires in %s, %v; want less than an hour", ttl, err)
	}
}
