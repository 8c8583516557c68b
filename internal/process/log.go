package process

import (
	"fmt"
	"io"
	"os"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"golang.org/x/term"
)

// LogConfig says how logs are written.
type LogConfig struct {
	// Level is the least that is logged: debug, info, warn or error.
	Level string
	// Format is json, console, or auto, which is console where File is a terminal and
	// json elsewhere.
	Format string
	// Coloured colours the levels of the console format.
	Coloured bool
	// File is where logs are written.
	File *os.File
	// Through, where set, is what is written to in the place of File: something that
	// writes to it in turn.
	Through io.Writer
}

// NewLogger returns a logger, of lines without stack traces.
func NewLogger(cfg LogConfig) (*zap.Logger, error) {
	lvl, err := zapcore.ParseLevel(cfg.Level)
	if err != nil {
		return nil, fmt.Errorf("make logger: %w", err)
	}
	encoder, err := newEncoder(cfg)
	if err != nil {
		return nil, err
	}
	sink := zapcore.WriteSyncer(cfg.File)
	if cfg.Through != nil {
		sink = zapcore.AddSync(cfg.Through)
	}
	return zap.New(zapcore.NewCore(encoder, zapcore.Lock(sink), lvl)), nil
}

func newEncoder(cfg LogConfig) (zapcore.Encoder, error) {
	enc := zap.NewProductionEncoderConfig()
	enc.TimeKey, enc.MessageKey = "time", "message"
	enc.EncodeTime = zapcore.RFC3339NanoTimeEncoder
	enc.EncodeDuration = zapcore.StringDurationEncoder
	switch {
	case cfg.isConsole():
		enc.EncodeTime = zapcore.TimeEncoderOfLayout("15:04:05.000")
		enc.EncodeLevel = zapcore.CapitalLevelEncoder
		if cfg.Coloured {
			enc.EncodeLevel = zapcore.CapitalColorLevelEncoder
		}
		return zapcore.NewConsoleEncoder(enc), nil
	case cfg.Format == "json" || cfg.Format == "auto":
		return zapcore.NewJSONEncoder(enc), nil
	}
	return nil, fmt.Errorf("make logger: unknown format %q: known are auto, console and json", cfg.Format)
}

// isConsole reports whether lines are for people.
func (cfg LogConfig) isConsole() bool {
	return cfg.Format == "console" || cfg.Format == "auto" && term.IsTerminal(int(cfg.File.Fd()))
}
