// Command klinghook contains everything except the public process: the worker, the admin
// pages, the operator's commands, and dev, which runs all of it in one process. Each
// subcommand has its own file.
package main

import (
	"context"
	"errors"
	"os"

	"github.com/spf13/cobra"

	"github.com/klinghook/klinghook/cmd/internal/cli"
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
	err := cli.Execute(ctx, rootCommand())
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

func rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "klinghook",
		Short: "Receive the webhooks of Kling AI and lose nothing",
		Long: `klinghook receives the webhooks of Kling AI's video jobs, answers 200 at once, and
does the slow work behind a queue: it stores every event, downloads videos and
thumbnails, keeps one row per job, and sends notifications.

Every setting is an environment variable with a matching flag: KLINGHOOK_REDIS_URL and
--redis-url. The flag of a secret names a file. "klinghook config" prints all settings
with their values.

Exit codes: 0 done, 1 failed, 2 wrong usage or settings, 3 not found.`,
		Example: `  klinghook dev                  # run everything in one process
  klinghook send --lifecycle     # in another terminal: send a job from created to completed
  klinghook jobs list            # see the result`,
		Version: cli.VersionLine(version),
	}
	root.AddGroup(&cobra.Group{ID: "run", Title: "Run:"}, &cobra.Group{ID: "look", Title: "Try out and inspect:"}, &cobra.Group{ID: "setup", Title: "Set up:"})
	root.AddCommand(inGroup("run", devCommand(), workerCommand(), adminCommand(), migrateCommand())...)
	root.AddCommand(inGroup("look", sendCommand(), simulateCommand(), jobsCommand(), eventsCommand(), deadlettersCommand(), destinationsCommand(), rejectionsCommand(), pruneCommand())...)
	root.AddCommand(inGroup("setup", webhooksCommand(), configCommand(), doctorCommand(), healthcheckCommand(), versionCommand())...)
	root.SetCompletionCommandGroupID("setup")
	root.SetHelpCommandGroupID("setup")
	return root
}

func inGroup(id string, commands ...*cobra.Command) []*cobra.Command {
	for _, c := range commands {
		c.GroupID = id
	}
	return commands
}

// group returns a command that has only subcommands.
func group(use, short string, commands ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{Use: use, Short: short, Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() }}
	cmd.AddCommand(commands...)
	return cmd
}
