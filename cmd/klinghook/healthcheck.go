package main

import (
	"github.com/spf13/cobra"

	"github.com/klinghook/klinghook/cmd/internal/cli"
	"github.com/klinghook/klinghook/config"
)

func healthcheckCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "healthcheck",
		Short: "Ask a running process whether it is ready",
		Long: `healthcheck asks the worker or admin process at KLINGHOOK_ADMIN_ADDR for /readyz. It
exits with 0 if the process is ready, else with 1 and the reason. It is for health
checks of containers, which have no shell and no curl: run it in the environment of
the process.`,
		Example: `  klinghook healthcheck
  klinghook healthcheck --admin-addr 127.0.0.1:5002`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := load(config.Worker, cmd)
			if err != nil {
				return err
			}
			return cli.CheckHealth(cmd.Context(), cfg.AdminAddr)
		},
	}
	cli.AddFlags(cmd, config.Worker, "KLINGHOOK_ADMIN_ADDR")
	return cmd
}
