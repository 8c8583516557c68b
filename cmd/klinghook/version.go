package main

import (
	"fmt"
	"runtime"

	"github.com/spf13/cobra"

	"github.com/klinghook/klinghook/cmd/internal/cli"
)

func versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "klinghook %s %s/%s %s\n", cli.Version(version), runtime.GOOS, runtime.GOARCH, runtime.Version())
			return err
		},
	}
}
