package worker

import (
	"fmt"
	"time"

	"go.uber.org/zap"
	"golang.org/x/time/rate"
)

// asynqLogger writes asynq's log one level lower, because asynq logs retries as warnings.
// Without Redis, each server repeats several errors, so at most one error per second
// becomes a warning.
type asynqLogger struct {
	log     *zap.SugaredLogger
	warning *rate.Sometimes
}

func newAsynqLogger(log *zap.Logger) asynqLogger {
	return asynqLogger{log: log.Named("asynq").Sugar(), warning: &rate.Sometimes{Interval: time.Second}}
}

func (l asynqLogger) Debug(args ...any) { l.log.Debug(args...) }
func (l asynqLogger) Info(args ...any)  { l.log.Debug(args...) }
func (l asynqLogger) Warn(args ...any)  { l.log.Debug(args...) }

func (l asynqLogger) Error(args ...any) {
	write := l.log.Debug
	l.warning.Do(func() { write = l.log.Warn })
	write(args...)
}

// Fatal panics: only cmd may end the process.
func (l asynqLogger) Fatal(args ...any) { panic(fmt.Sprint(args...)) }
