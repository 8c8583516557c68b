package rig

import "testing"

func TestMonitored(t *testing.T) {
	for line, want := range map[string]string{
		`+OK`: "",
		`1700000000.123456 [0 127.0.0.1:5] "EVALSHA" "abc" "1" "asynq:{events}:pending"`: "evalsha",
		`1700000000.123456 [0 lua] "RPOPLPUSH" "a" "b"`:                                  "",
		`1700000000.123456 [0 unix:/tmp/redis.sock] "ping"`:                              "ping",
	} {
		if got := monitored(line); got != want {
			t.Errorf("monitored(%q) = %q, want %q", line, got, want)
		}
	}
}
