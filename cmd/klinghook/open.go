package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/redis/go-redis/v9"
	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"github.com/klinghook/klinghook/cmd/internal/cli"
	"github.com/klinghook/klinghook/config"
	"github.com/klinghook/klinghook/internal/process"
	"github.com/klinghook/klinghook/internal/store"
	"github.com/klinghook/klinghook/worker/media"
	"github.com/klinghook/klinghook/worker/notify"
)

// load reads the settings of a role from the environment and the command's flags.
func load(role config.Role, cmd *cobra.Command) (*config.Config, error) {
	return cli.Load(role, cmd, config.Checks{"KLINGHOOK_NOTIFY_URLS": notify.CheckChatURL, "KLINGHOOK_ALERT_URLS": notify.CheckChatURL, "KLINGHOOK_DESTINATIONS": checkDestinations, "KLINGHOOK_NOTIFY_TEXT": notify.CheckText})
}

// loadWithLog is like load, for a command that keeps running and logs.
func loadWithLog(role config.Role, cmd *cobra.Command) (*config.Config, *zap.Logger, error) {
	cfg, err := load(role, cmd)
	if err != nil {
		return nil, nil, err
	}
	log, err := cli.NewLogger(cfg)
	return cfg, log, err
}

// oneOf checks that a flag's value is one of the known ones.
func oneOf(flag, value string, known []string) error {
	if slices.Contains(known, value) {
		return nil
	}
	return cli.Usagef("--%s is %q; must be one of %s", flag, value, strings.Join(known, ", "))
}

// closeInto calls closing and joins its error to err.
func closeInto(err *error, closing func() error) { *err = errors.Join(*err, closing()) }

// withStore runs f with the database of the command's settings.
func withStore(cmd *cobra.Command, f func(ctx context.Context, cfg *config.Config, db *store.Store) error) (err error) {
	cfg, err := load(config.Store, cmd)
	if err != nil {
		return err
	}
	db, err := openStore(cmd.Context(), cfg)
	if err != nil {
		return err
	}
	defer closeInto(&err, db.Close)
	return f(cmd.Context(), cfg, db)
}

// withQueue runs f with the database and the Redis of the command's settings, or with the
// Redis of a dev running on the same data directory.
func withQueue(cmd *cobra.Command, f func(ctx context.Context, cfg *config.Config, rdb redis.UniversalClient, db *store.Store) error) (err error) {
	ctx := cmd.Context()
	cfg, err := load(config.Replay, cmd)
	if err != nil {
		return err
	}
	useDevRedis(ctx, cfg)
	rdb, err := cli.OpenRedis(cfg, zap.NewNop())
	if err != nil {
		return err
	}
	defer closeInto(&err, rdb.Close)
	if err := pingRedis(ctx, cfg, rdb, "set KLINGHOOK_REDIS_URL (--redis-url) to the workers' Redis"); err != nil {
		return err
	}
	db, err := openStore(ctx, cfg)
	if err != nil {
		return err
	}
	defer closeInto(&err, db.Close)
	return f(ctx, cfg, rdb, db)
}

// useDevRedis selects the Redis of a running dev if none is set, and reports whether it did.
func useDevRedis(ctx context.Context, cfg *config.Config) bool {
	here, devRuns := readDevAddresses(ctx, cfg.Data)
	if !devRuns || cfg.Origin("KLINGHOOK_REDIS_URL") != config.FromDefault {
		return false
	}
	cfg.RedisURL = here.Redis
	return true
}

// openBucket opens the configured bucket. Its errors say what to do.
func openBucket(ctx context.Context, cfg *config.Config) (*media.Bucket, error) {
	bucket, err := media.OpenBucket(ctx, cfg.BucketURL)
	if errors.Is(err, fs.ErrPermission) {
		err = fmt.Errorf("%w; let this user write there, or set KLINGHOOK_BUCKET_URL (--bucket-url) to another directory", err)
	}
	return bucket, err
}

// pingRedis returns an error with advice if Redis is unreachable.
func pingRedis(ctx context.Context, cfg *config.Config, rdb redis.UniversalClient, advice string) error {
	err := process.PingRedis(ctx, rdb)
	if err == nil {
		return nil
	}
	for _, refusal := range []string{"NOAUTH", "WRONGPASS", "NOPERM"} {
		if redis.HasErrorPrefix(err, refusal) {
			advice = "correct the user and the password in KLINGHOOK_REDIS_URL (--redis-url)"
		}
	}
	if errors.Is(err, process.ErrClusterNode) {
		return fmt.Errorf("use Redis at %s: %w", cfg.Value("KLINGHOOK_REDIS_URL"), err)
	}
	return fmt.Errorf("reach Redis at %s: %w; %s", cfg.Value("KLINGHOOK_REDIS_URL"), err, advice)
}

// openStore opens an existing database that has the schema of this build.
func openStore(ctx context.Context, cfg *config.Config) (*store.Store, error) {
	db, err := store.Open(ctx, cfg.DatabaseURL)
	if err != nil {
		return nil, databaseError(cfg, err)
	}
	if err := db.CheckSchema(ctx); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return db, nil
}

// databaseError adds the database and advice to an error.
func databaseError(cfg *config.Config, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("no database at %s yet: `klinghook dev` creates one to try out, `klinghook migrate` an empty one; "+
			"if it is elsewhere, set KLINGHOOK_DATABASE_URL (--database-url), or KLINGHOOK_DATA (--data) to its directory", cfg.Value("KLINGHOOK_DATABASE_URL"))
	}
	advice := "is KLINGHOOK_DATABASE_URL (--database-url) right, and the database running?"
	switch {
	case errors.Is(err, fs.ErrPermission):
		advice = "let this user write to the file and its directory, or set KLINGHOOK_DATABASE_URL (--database-url) or KLINGHOOK_DATA (--data) to another place"
	case errors.Is(err, store.ErrPassword):
		advice = "correct it in KLINGHOOK_DATABASE_URL (--database-url). If you changed POSTGRES_PASSWORD of the Compose stack after its first start, " +
			"PostgreSQL still has the old one; give it the new one: " +
			`docker compose exec postgres psql -U klinghook -c "ALTER USER klinghook PASSWORD '<the new password>'"`
	case errors.Is(err, store.ErrReadOnly):
		return fmt.Errorf("%s: %w", cfg.Value("KLINGHOOK_DATABASE_URL"), err)
	case errors.Is(err, store.ErrBusy):
		advice = "stop the program that has it open, such as another klinghook or a database browser, or set KLINGHOOK_DATABASE_URL (--database-url) to another one"
	case errors.Is(err, store.ErrNoDatabase):
		advice = "set KLINGHOOK_DATABASE_URL (--database-url) to another one; `klinghook migrate` creates a missing file"
	}
	return fmt.Errorf("%s: %w; %s", cfg.Value("KLINGHOOK_DATABASE_URL"), err, advice)
}

// dataError adds advice to an error about a file in the data directory.
func dataError(err error) error {
	return fmt.Errorf("%w; let this user write there, or set KLINGHOOK_DATA (--data) to another directory", err)
}
