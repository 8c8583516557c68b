package worker

import (
	"fmt"

	"go.uber.org/zap"
)

// asynqLogger is asynq's own log, one level down: it reports retries as warnings.
type asynqLogger struct{ log *zap.SugaredLogger }

func (l asynqLogger) Debug(args ...any) { l.log.Debug(args...) }
func (l asynqLogger) Info(args ...any)  { l.log.Debug(args...) }
func (l asynqLogger) Warn(args ...any)  { l.log.Debug(args...) }
func (l asynqLogger) Error(args ...any) { l.log.Warn(args...) }

// Fatal panics: only cmd may end the process.
func (l asynqLogger) Fatal(args ...any) { panic(fmt.Sprint(args...)) }
