package main

import (
	"github.com/spf13/cobra"

	"github.com/klinghook/klinghook/cmd/internal/cli"
	"github.com/klinghook/klinghook/config"
)

func healthcheckCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "healthcheck",
		Short: "Ask the process that runs here whether it is ready",
		Long: `healthcheck asks the worker or the admin process at KLINGHOOK_ADMIN_ADDR for
/readyz. It exits with 0 when that is ready and with 1, saying why, when it is not.
It is for the health checks of containers, where there is no shell and no curl:
give it the environment that the process has.`,
		Example: `  klinghook healthcheck
  klinghook healthcheck --admin-addr 127.0.0.1:5002`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := load(config.Worker, cmd)
			if err != nil {
				return err
			}
			return cli.CheckHealth(cmd.Context(), cfg.AdminAddr)
		},
	}
	settings(cmd, config.Worker, "KLINGHOOK_ADMIN_ADDR")
	return cmd
}
