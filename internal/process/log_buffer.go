package process

import (
	"io"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

const (
	// bufferedLogSize is how many bytes of lines are gathered at most.
	bufferedLogSize = 64 << 10
	// bufferedLogWait is how long a line waits for others at most: not long enough for
	// who follows the log to notice.
	bufferedLogWait = 100 * time.Millisecond
)

// NewBufferedLogger is [NewLogger] for a process that writes thousands of lines a
// second, each of which would be a system call: lines are gathered for a tenth of a
// second. A warning or an error is written at once, with all before it. A process that
// is killed takes what was gathered with it. flush writes it, and is to be called
// before the process ends.
//
// Where lines are not JSON, somebody is looking at them, and each is written at once.
func NewBufferedLogger(cfg LogConfig) (log *zap.Logger, flush func(), err error) {
	if cfg.isConsole() {
		log, err = NewLogger(cfg)
		return log, func() {}, err
	}
	// Without the file's own Sync, which would wait for its disk.
	buffer := &zapcore.BufferedWriteSyncer{WS: zapcore.AddSync(struct{ io.Writer }{cfg.File}), Size: bufferedLogSize, FlushInterval: bufferedLogWait}
	cfg.Through = buffer
	log, err = NewLogger(cfg)
	if err != nil {
		return nil, nil, err
	}
	log = log.WithOptions(zap.Hooks(func(entry zapcore.Entry) error {
		if entry.Level < zapcore.WarnLevel {
			return nil
		}
		return buffer.Sync()
	}))
	return log, func() { _ = buffer.Stop() }, nil // there is no log left to tell of it
}
