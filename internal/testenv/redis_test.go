package testenv

import (
	"errors"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// dialRedis returns a client that tries each command once.
func dialRedis(t *testing.T, s *RedisServer) *redis.Client {
	t.Helper()
	opts, err := redis.ParseURL(s.URL())
	if err != nil {
		t.Fatal(err)
	}
	opts.MaxRetries = -1
	opts.DialerRetries = 1
	opts.ReadTimeout = 100 * time.Millisecond
	client := redis.NewClient(opts)
	t.Cleanup(func() {
		if err := client.Close(); err != nil {
			t.Error(err)
		}
	})
	return client
}

func TestRedisRestartKeepsAOFOnly(t *testing.T) {
	tests := []struct {
		name string
		opts []RedisOption
		end  func(*RedisServer)
		// want is the value of a key afterwards.
		want    string
		wantErr error
	}{
		{"killed, with AOF", []RedisOption{WithAOF("always")}, (*RedisServer).Kill, "kept", nil},
		{"stopped, with AOF", []RedisOption{WithAOF("everysec")}, (*RedisServer).Stop, "kept", nil},
		{"running, with AOF", []RedisOption{WithAOF("everysec")}, func(*RedisServer) {}, "kept", nil},
		{"paused, with AOF", []RedisOption{WithAOF("always")}, (*RedisServer).Pause, "kept", nil},
		{"killed, without", nil, (*RedisServer).Kill, "", redis.Nil},
		{"stopped, without", nil, (*RedisServer).Stop, "", redis.Nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := Redis(t, tt.opts...)
			addr := s.Addr()
			if err := dialRedis(t, s).Set(t.Context(), "key", "kept", 0).Err(); err != nil {
				t.Fatal(err)
			}

			tt.end(s)
			s.Restart()

			got, err := dialRedis(t, s).Get(t.Context(), "key").Result()
			if got != tt.want || !errors.Is(err, tt.wantErr) {
				t.Errorf("after the restart the key is %q (error %v), want %q (error %v)", got, err, tt.want, tt.wantErr)
			}
			if s.Addr() != addr {
				t.Errorf("address changed from %s to %s", addr, s.Addr())
			}
		})
	}
}

func TestRedisEnds(t *testing.T) {
	for name, end := range map[string]func(*RedisServer){
		"Kill": (*RedisServer).Kill,
		"Stop": (*RedisServer).Stop,
	} {
		t.Run(name, func(t *testing.T) {
			s := Redis(t)
			end(s)
			if err := dialRedis(t, s).Ping(t.Context()).Err(); err == nil {
				t.Error("the server still answers")
			}
			end(s) // A second time does nothing.
		})
	}
}

func TestPausedRedisAnswersNothing(t *testing.T) {
	s := Redis(t)
	client := dialRedis(t, s)
	if err := client.Ping(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}

	s.Pause()
	if err := client.Ping(t.Context()).Err(); err == nil {
		t.Error("a paused server answers")
	}
	s.Resume()
	// Only a paused server takes this long.
	patient := client.WithTimeout(time.Minute)
	if err := patient.Ping(t.Context()).Err(); err != nil {
		t.Errorf("after Resume: %v", err)
	}
}

func TestRedisServersAreSeparate(t *testing.T) {
	a, b := Redis(t), Redis(t)
	if err := dialRedis(t, a).Set(t.Context(), "key", "a", 0).Err(); err != nil {
		t.Fatal(err)
	}
	if err := dialRedis(t, b).Get(t.Context(), "key").Err(); !errors.Is(err, redis.Nil) {
		t.Errorf("a key of one server in another: error %v, want %v", err, redis.Nil)
	}
}

func TestRedisOnPortInUse(t *testing.T) {
	first := Redis(t)
	second := &RedisServer{t: t, program: first.program, dir: t.TempDir(), port: first.port}
	if err := second.start(t.Context()); !errors.Is(err, errBusy) {
		t.Errorf("a second server on %s: error %v, want %v", first.Addr(), err, errBusy)
	}
	if err := first.answers(t.Context(), second.process.PID()); err == nil {
		t.Error("the first server was taken for the second")
	}
}
