// Command klinghook is everything in klinghook but the public process: the worker,
// the commands of its operator, and dev, which runs it all in one process. Each
// subcommand is a file.
package main

import (
	"context"
	"errors"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"github.com/klinghook/klinghook/cmd/internal/cli"
	"github.com/klinghook/klinghook/config"
	"github.com/klinghook/klinghook/internal/process"
	"github.com/klinghook/klinghook/store"
)

// version is stamped by the linker: -X main.version=v1.2.3.
var version string

func main() {
	ctx, stop := process.Signals(context.Background(), func() { os.Exit(cli.ExitFailure) })
	err := rootCommand().ExecuteContext(ctx)
	stop()
	if err != nil {
		cli.PrintError(os.Stderr, "klinghook", err)
	}
	os.Exit(exitCode(err))
}

func exitCode(err error) int {
	if errors.Is(err, store.ErrNotFound) {
		return cli.ExitNotFound
	}
	return cli.ExitCode(err)
}

func rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "klinghook",
		Short: "Receive Kling AI's video webhooks, lose nothing",
		Long: `klinghook receives Kling AI's video webhooks, answers 200 at once, and does the
slow work behind a queue: it keeps every event, downloads video and thumbnail,
keeps one row per job, and notifies.

Start with "klinghook dev", then "klinghook send --lifecycle" in another terminal.

Every setting is an environment variable and a flag of the same words;
"klinghook config" lists them with their values.

Exit codes: 0 done, 1 failed, 2 wrong usage or settings, 3 not found.`,
		Version:       cli.Version(version),
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return cli.Usagef("%w; %q lists the flags", err, cmd.CommandPath()+" --help")
	})
	root.AddCommand(
		devCommand(), workerCommand(), migrateCommand(),
		sendCommand(), webhooksCommand(),
		jobsCommand(), eventsCommand(),
		configCommand(), versionCommand(),
	)
	return root
}

// args makes cobra's complaints about arguments usage errors.
func args(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, given []string) error {
		if err := check(cmd, given); err != nil {
			return cli.Usagef("%w; usage: %s", err, cmd.UseLine())
		}
		return nil
	}
}

// group is a command that only holds others.
func group(use, short string, commands ...*cobra.Command) *cobra.Command {
	var names []string
	for _, c := range commands {
		names = append(names, c.Name())
	}
	cmd := &cobra.Command{
		Use: use, Short: short,
		RunE: func(cmd *cobra.Command, given []string) error {
			if len(given) == 0 {
				return cmd.Help()
			}
			return cli.Usagef("%s has no command %q; it has %s", cmd.CommandPath(), given[0], strings.Join(names, ", "))
		},
	}
	cmd.AddCommand(commands...)
	return cmd
}

// load reads a role's settings from the environment and the command's flags.
func load(role config.Role, cmd *cobra.Command) (*config.Config, error) {
	return cli.Load(role, os.Environ(), cmd.Flags())
}

// loadWithLog is load for a command that runs on and logs.
func loadWithLog(role config.Role, cmd *cobra.Command) (*config.Config, *zap.Logger, error) {
	cfg, err := load(role, cmd)
	if err != nil {
		return nil, nil, err
	}
	log, err := process.NewLogger(cfg.LogLevel, cfg.LogFormat, os.Stderr)
	if err != nil {
		return nil, nil, err
	}
	return cfg, log, nil
}

// openStore opens the database that is there already, and checks that its schema
// is this build's.
func openStore(ctx context.Context, cfg *config.Config) (*store.Store, error) {
	db, err := store.Open(ctx, cfg.DatabaseURL)
	if err != nil {
		return nil, err
	}
	if err := db.CheckSchema(ctx); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return db, nil
}
