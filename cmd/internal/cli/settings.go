package cli

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"
	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"github.com/klinghook/klinghook/config"
	"github.com/klinghook/klinghook/internal/process"
	"github.com/klinghook/klinghook/tasks"
)

// settingFlag annotates the flags of AddFlags, because a command's own flag may have the
// name of a setting that the command does not use.
const settingFlag = "klinghook_setting"

// AddFlags adds a flag for each setting of the role or, with names, for those
// settings only.
func AddFlags(cmd *cobra.Command, role config.Role, names ...string) {
	flags := cmd.Flags()
	flags.SortFlags = false // the command's own flags come first
	for _, setting := range config.Settings() {
		if !setting.UsedBy(role) || len(names) > 0 && !slices.Contains(names, setting.Name) {
			continue
		}
		if setting.HasFlag() {
			meaning, _, _ := strings.Cut(setting.Meaning, ". ")
			flags.String(setting.Flag, "", strings.TrimSuffix(meaning, ".")+" ["+setting.Name+"]")
			flag := flags.Lookup(setting.Flag)
			flag.Annotations = map[string][]string{settingFlag: {}}
			flag.DefValue = setting.Default
			if role == config.Dev && setting.Name == "KLINGHOOK_REDIS_URL" {
				flag.DefValue = "" // dev's queue is in memory
			}
			if setting.Kind == reflect.Bool {
				flag.NoOptDefVal = "true"
			}
		}
		if setting.Secret != config.SecretNone {
			flags.String(setting.FileFlag(), "", "File with "+setting.Name+" ["+setting.FileName()+"]")
			flags.Lookup(setting.FileFlag()).Annotations = map[string][]string{settingFlag: {}}
		}
	}
}

// Load reads the settings of a role from the command's flags and the environment.
func Load(role config.Role, cmd *cobra.Command, checks config.Checks) (*config.Config, error) {
	flags := map[string]string{}
	for _, setting := range config.Settings() {
		for flag, variable := range map[string]string{setting.Flag: setting.Name, setting.FileFlag(): setting.FileName()} {
			if f := cmd.Flags().Lookup(flag); f != nil && f.Changed && f.Annotations[settingFlag] != nil {
				flags[variable] = f.Value.String()
			}
		}
	}
	all := config.Checks{"KLINGHOOK_QUEUES": checkQueue, "KLINGHOOK_NOTIFY_EVENTS": CheckEvent, "KLINGHOOK_EVENT_SHARDS": checkShards, "KLINGHOOK_MEDIA_KINDS": checkMediaKind}
	maps.Copy(all, checks)
	cfg, err := config.Load(role, os.Environ(), flags, all)
	problems := unknownVariables(os.Environ())
	var wrong *config.Error
	if errors.As(err, &wrong) {
		problems = append(wrong.Problems, problems...)
	}
	if len(problems) > 0 {
		return nil, &config.Error{Problems: problems}
	}
	return cfg, err
}

func checkQueue(item string) error {
	if name, _, _ := strings.Cut(item, "="); !slices.Contains(tasks.Queues(), name) {
		return fmt.Errorf("unknown queue; must be one of %s", strings.Join(tasks.Queues(), ", "))
	}
	return nil
}

// CheckEvent checks that an item is a known event type.
func CheckEvent(item string) error {
	if known := append(tasks.KnownTypes(), tasks.TypeLost); !slices.Contains(known, EventType(item)) {
		return fmt.Errorf("unknown event; must be one of %s", strings.Join(known, ", "))
	}
	return nil
}

func checkMediaKind(item string) error {
	if !slices.Contains(tasks.MediaKinds(), tasks.MediaKind(item)) {
		return fmt.Errorf("unknown kind; must be one of %q", tasks.MediaKinds())
	}
	return nil
}

func checkShards(item string) error {
	if n, err := strconv.Atoi(item); err != nil || n > tasks.MaxEventShards {
		return fmt.Errorf("must be between 1 and %d", tasks.MaxEventShards)
	}
	return nil
}

// EventType completes an event type that is written without "video.".
func EventType(word string) string {
	if slices.Contains(append(tasks.KnownTypes(), tasks.TypeLost), "video."+word) {
		return "video." + word
	}
	return word
}

// Unused returns the variables that are set but not used by the role. The public process
// is safer without the secrets of other processes.
func Unused(role config.Role) []string {
	var names []string
	for _, setting := range config.Settings() {
		for _, name := range []string{setting.Name, setting.FileName()} {
			if !setting.UsedBy(role) && os.Getenv(name) != "" {
				names = append(names, name)
			}
		}
	}
	return names
}

// OpenRedis returns a client for the configured Redis, without connecting. The caller
// closes it.
func OpenRedis(cfg *config.Config, log *zap.Logger) (redis.UniversalClient, error) {
	redis.SetLogger(process.RedisLogger{Log: log})
	rdb, err := process.NewRedis(process.RedisConfig{
		URL: cfg.RedisURL, Mode: cfg.RedisMode, CA: cfg.RedisCA, Cert: cfg.RedisCert, Key: cfg.RedisKey, ServerName: cfg.RedisServerName,
	})
	if err != nil {
		return nil, Usagef("%s, KLINGHOOK_REDIS_MODE is %s: %w", config.Lookup("KLINGHOOK_REDIS_URL").Title(), cfg.RedisMode, err)
	}
	return rdb, nil
}

// NewLogger returns a logger to standard error with the configured level and format, and
// logs warnings about the settings.
func NewLogger(cfg *config.Config) (*zap.Logger, error) {
	log, err := process.NewLogger(LogConfig(cfg))
	if err == nil {
		LogWarnings(cfg, log)
	}
	return log, err
}

// LogWarnings logs which secrets are weak and which variables have no effect.
func LogWarnings(cfg *config.Config, log *zap.Logger) {
	for _, warning := range cfg.Warnings() {
		log.Warn("a secret is weak", zap.String("setting", warning))
	}
	for _, name := range []string{"HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"} {
		if os.Getenv(name) != "" {
			log.Warn("outgoing requests use no proxy; this variable has no effect", zap.String("variable", name))
		}
	}
}

// LogConfig returns the settings of the log.
func LogConfig(cfg *config.Config) process.LogConfig {
	return process.LogConfig{Level: cfg.LogLevel, Format: cfg.LogFormat, Coloured: Coloured(os.Stderr), File: os.Stderr}
}

// Tracing returns the process's traces. The caller shuts them down.
func Tracing(ctx context.Context, cfg *config.Config, service, stamp string, log *zap.Logger) (*process.Traces, error) {
	traces, err := process.NewTraces(ctx, process.TraceConfig{Endpoint: cfg.OTLPEndpoint, Headers: cfg.OTLPHeaders, Service: service, Version: Version(stamp), Log: log})
	if err != nil {
		return nil, Usagef("%w", err)
	}
	return traces, nil
}
