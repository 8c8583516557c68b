// Command klinghook is everything in klinghook but the public process: the worker,
// the commands of its operator, and dev, which runs it all in one process. Each
// subcommand is a file.
package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/redis/go-redis/v9"
	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"github.com/klinghook/klinghook/cmd/internal/cli"
	"github.com/klinghook/klinghook/config"
	"github.com/klinghook/klinghook/internal/process"
	"github.com/klinghook/klinghook/internal/store"
	"github.com/klinghook/klinghook/worker/notify"
)

// version is stamped by the linker: -X main.version=v1.2.3.
var version string

func main() { os.Exit(run()) }

// run runs the command that the arguments name and returns the exit code.
func run() int {
	notify.GuardDefaultClient()
	ctx, stop := process.Signals(context.Background(), func() { os.Exit(cli.ExitFailure) })
	defer stop()
	err := rootCommand().ExecuteContext(ctx)
	if err == nil {
		return cli.ExitOK
	}
	if errors.Is(err, context.Canceled) && ctx.Err() != nil {
		err = errors.New("interrupted")
	}
	cli.PrintError(os.Stderr, "klinghook", err)
	if errors.Is(err, store.ErrNotFound) {
		return cli.ExitNotFound
	}
	return cli.ExitCode(err)
}

// The groups in which the commands are listed.
const (
	groupRun   = "run"
	groupLook  = "look"
	groupOther = "other"
)

func rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "klinghook",
		Short: "Receive Kling AI's video webhooks, lose nothing",
		Long: `klinghook receives Kling AI's video webhooks, answers 200 at once, and does the
slow work behind a queue: it keeps every event, downloads video and thumbnail,
keeps one row per job, and notifies.

Every setting is an environment variable and a flag of the same words;
"klinghook config" prints them all with their values.

Exit codes: 0 done, 1 failed, 2 wrong usage or settings, 3 not found.`,
		Example: `  klinghook dev                  # everything in one process, on embedded parts
  klinghook send --lifecycle     # in another terminal: a job from created to completed
  klinghook jobs list            # what became of it`,
		Version:       cli.Version(version),
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.SetVersionTemplate(cli.VersionLine("klinghook", version) + "\n")
	root.AddGroup(&cobra.Group{ID: groupRun, Title: "Run:"},
		&cobra.Group{ID: groupLook, Title: "Try out and look:"},
		&cobra.Group{ID: groupOther, Title: "Set up:"})
	root.AddCommand(inGroup(groupRun, devCommand(), workerCommand(), adminCommand(), migrateCommand())...)
	root.AddCommand(inGroup(groupLook, sendCommand(), simulateCommand(), jobsCommand(), eventsCommand(), deadlettersCommand(), rejectionsCommand())...)
	root.AddCommand(inGroup(groupOther, webhooksCommand(), configCommand(), healthcheckCommand(), versionCommand())...)
	root.SetCompletionCommandGroupID(groupOther)
	root.SetHelpCommandGroupID(groupOther)
	speakOurWay(root)
	return root
}

func inGroup(id string, commands ...*cobra.Command) []*cobra.Command {
	for _, c := range commands {
		c.GroupID = id
	}
	return commands
}

// load reads a role's settings from the environment and the command's flags.
func load(role config.Role, cmd *cobra.Command) (*config.Config, error) {
	return cli.Load(role, os.Environ(), cmd.Flags(), config.Check{Name: "KLINGHOOK_NOTIFY_URLS", Item: notify.CheckChatURL})
}

// loadWithLog is load for a command that runs on and logs.
func loadWithLog(role config.Role, cmd *cobra.Command) (*config.Config, *zap.Logger, error) {
	cfg, err := load(role, cmd)
	if err != nil {
		return nil, nil, err
	}
	log, err := process.NewLogger(logConfig(cfg))
	if err != nil {
		return nil, nil, err
	}
	return cfg, log, nil
}

// logConfig is how the settings want logs to be written.
func logConfig(cfg *config.Config) process.LogConfig {
	return process.LogConfig{Level: cfg.LogLevel, Format: cfg.LogFormat, Coloured: cli.Coloured(os.Stderr), File: os.Stderr}
}

// pingRedis reports that Redis cannot be reached, and what to do about it.
func pingRedis(ctx context.Context, cfg *config.Config, rdb redis.UniversalClient, advice string) error {
	err := rdb.Ping(ctx).Err()
	if err == nil {
		return nil
	}
	for _, refusal := range []string{"NOAUTH", "WRONGPASS", "NOPERM"} {
		if redis.HasErrorPrefix(err, refusal) {
			advice = "it is there, and wants another user or password than KLINGHOOK_REDIS_URL (--redis-url) has"
		}
	}
	return fmt.Errorf("reach Redis at %s: %w; %s", cfg.Value("KLINGHOOK_REDIS_URL"), err, advice)
}

// openStore opens the database that is there already, and checks that its schema
// is this build's.
func openStore(ctx context.Context, cfg *config.Config) (*store.Store, error) {
	db, err := store.Open(ctx, cfg.DatabaseURL)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("there is no database at %s yet: `klinghook dev` makes one for trying out, `klinghook migrate` an empty one; "+
			"if it is elsewhere, name it with KLINGHOOK_DATABASE_URL (--database-url), or its folder with KLINGHOOK_DATA (--data)", cfg.Value("KLINGHOOK_DATABASE_URL"))
	}
	if err != nil {
		return nil, databaseError(cfg, err)
	}
	if err := db.CheckSchema(ctx); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return db, nil
}

// databaseError says which database an error is about, and what to do.
func databaseError(cfg *config.Config, err error) error {
	advice := "is KLINGHOOK_DATABASE_URL (--database-url) right, and the database there?"
	switch {
	case errors.Is(err, fs.ErrPermission):
		advice = "let this user write to the file and its folder, or name another with KLINGHOOK_DATABASE_URL (--database-url), or its folder with KLINGHOOK_DATA (--data)"
	case errors.Is(err, store.ErrBusy):
		advice = "end what has it open, such as another klinghook or a program to look into databases, or name another with KLINGHOOK_DATABASE_URL (--database-url)"
	case errors.Is(err, store.ErrNoDatabase):
		advice = "name another with KLINGHOOK_DATABASE_URL (--database-url); `klinghook migrate` makes a file that is missing"
	}
	return fmt.Errorf("%s: %w; %s", cfg.Value("KLINGHOOK_DATABASE_URL"), err, advice)
}

// dataError says of an error about a file in the data folder what to do.
func dataError(err error) error {
	return fmt.Errorf("%w; let this user write there, or name another folder with KLINGHOOK_DATA (--data)", err)
}

// withStore runs f on the database of the command's settings.
func withStore(cmd *cobra.Command, f func(context.Context, *store.Store) error) (err error) {
	cfg, err := load(config.Store, cmd)
	if err != nil {
		return err
	}
	db, err := openStore(cmd.Context(), cfg)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	return f(cmd.Context(), db)
}
