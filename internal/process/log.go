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
	// Level is the lowest level that is logged: debug, info, warn or error.
	Level string
	// Format is json, console or auto: console if File is a terminal, else json.
	Format string
	// Coloured adds colours to the levels in the console format.
	Coloured bool
	// File is where logs are written.
	File *os.File
	// Through, if set, is written to instead of File. It must write to File in turn.
	Through io.Writer
}

// NewLogger returns a logger that adds no stack traces.
func NewLogger(cfg LogConfig) (*zap.Logger, error) {
	level, err := zapcore.ParseLevel(cfg.Level)
	if err != nil {
		return nil, fmt.Errorf("make logger: %w", err)
	}
	encoding := zap.NewProductionEncoderConfig()
	encoding.TimeKey, encoding.MessageKey = "time", "message"
	encoding.EncodeTime = zapcore.RFC3339NanoTimeEncoder
	encoding.EncodeDuration = zapcore.StringDurationEncoder
	var encoder zapcore.Encoder
	switch {
	case cfg.Format == "console" || cfg.Format == "auto" && term.IsTerminal(int(cfg.File.Fd())):
		encoding.EncodeTime = zapcore.TimeEncoderOfLayout("15:04:05.000")
		encoding.EncodeLevel = zapcore.CapitalLevelEncoder
		if cfg.Coloured {
			encoding.EncodeLevel = zapcore.CapitalColorLevelEncoder
		}
		encoder = zapcore.NewConsoleEncoder(encoding)
	case cfg.Format == "json" || cfg.Format == "auto":
		encoder = zapcore.NewJSONEncoder(encoding)
	default:
		return nil, fmt.Errorf("make logger: unknown format %q, must be auto, console or json", cfg.Format)
	}
	sink := zapcore.WriteSyncer(cfg.File)
	if cfg.Through != nil {
		sink = zapcore.AddSync(cfg.Through)
	}
	return zap.New(zapcore.NewCore(encoder, zapcore.Lock(sink), level)), nil
}
