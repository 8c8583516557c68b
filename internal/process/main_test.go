package process_test

import (
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/klinghook/klinghook/internal/testenv"
)

func TestMain(m *testing.M) { testenv.Main(m) }

// observed returns a logger and its log lines.
func observed() (*zap.Logger, *observer.ObservedLogs) {
	core, logs := observer.New(zapcore.DebugLevel)
	return zap.New(core), logs
}
