package main

import (
	"github.com/spf13/cobra"

	"github.com/klinghook/klinghook/cmd/internal/cli"
	"github.com/klinghook/klinghook/config"
)

func healthcheckCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "healthcheck",
		Short: "Check whether a running process is ready",
		Long: `healthcheck requests /readyz from the worker or admin process at KLINGHOOK_ADMIN_ADDR.
It exits with 0 if the process is ready, else with 1 and the reason. Use it for health
checks of containers without a shell and curl, in the environment of the process.`,
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
