package testenv

import (
	"errors"
	"testing"
)

func TestRedisOnPortInUse(t *testing.T) {
	first := Redis(t)
	second := &RedisServer{t: t, program: first.program, dir: t.TempDir(), port: first.port}
	if err := second.start(t.Context()); !errors.Is(err, errBusy) {
		t.Errorf("a second server on %s: error %v, want %v", first.Addr(), err, errBusy)
	}
	if err := first.answers(t.Context(), second.process.PID()); err == nil {
		t.Error("the first server was mistaken for the second")
	}
}
