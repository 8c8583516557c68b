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
		Long:  "version prints the version of this program, its platform and the version of Go that built it.",
		Args:  cobra.NoArgs,
		Run: func(cmd *cobra.Command, _ []string) {
			fmt.Fprintln(cmd.OutOrStdout(), "klinghook version", cli.VersionLine(version))
		},
	}
}
