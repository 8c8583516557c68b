package worker

import (
	"fmt"

	"go.uber.org/zap"
)

// asynqLogger passes asynq's own log on. What it says of starting and stopping is
// detail here.
type asynqLogger struct{ log *zap.SugaredLogger }

func (l asynqLogger) Debug(args ...any) { l.log.Debug(args...) }
func (l asynqLogger) Info(args ...any)  { l.log.Debug(args...) }
func (l asynqLogger) Warn(args ...any)  { l.log.Debug(args...) }
func (l asynqLogger) Error(args ...any) { l.log.Warn(args...) }

// Fatal would end the process by asynq's will; only cmd may.
func (l asynqLogger) Fatal(args ...any) { panic(fmt.Sprint(args...)) }
