package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/klinghook/klinghook/cmd/internal/cli"
)

func versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Long:  "version prints this program's version, its platform and the Go that built it.",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprintln(cmd.OutOrStdout(), cli.VersionLine("klinghook", version))
			return err
		},
	}
}
