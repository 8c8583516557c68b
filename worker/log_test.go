package worker

import (
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
)

func TestAsynqWarnsOncePerSecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		core, logs := observer.New(zapcore.WarnLevel)
		log := newAsynqLogger(zap.New(core))
		for range 15 * 10 {
			log.Error("Dequeue error: connection refused")
			log.Error("Failed to write server state data")
			time.Sleep(100 * time.Millisecond)
		}
		if n := logs.Len(); n < 10 || n > 15 {
			t.Errorf("%d warnings in 15 s, want one per second", n)
		}
	})
}
