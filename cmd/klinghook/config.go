package main

import (
	"cmp"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/klinghook/klinghook/cmd/internal/cli"
	"github.com/klinghook/klinghook/config"
)

func configCommand() *cobra.Command {
	var asJSON, asMarkdown bool
	cmd := &cobra.Command{
		Use:   "config",
		Short: "Print every setting: its value, its default and its meaning",
		Long: `config prints every setting with its value, the value's origin, its meaning, its form
and its default. Secrets are hidden. Run it with the flags and the environment of a
process to see what that process would use. If settings are invalid, it prints the
errors instead.

--json prints a list of objects with name, flag, value (redacted if secret, empty if
unset), origin (default, environment, file or flag), default, form and meaning.`,
		Example: `  klinghook config
  klinghook config --json | jq -r '.[] | select(.origin != "default") | .name'`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if asMarkdown {
				printSettingsTable(cmd.OutOrStdout())
				return nil
			}
			return printConfig(cmd, asJSON)
		},
	}
	jsonFlag(cmd, &asJSON)
	cmd.Flags().BoolVar(&asMarkdown, "markdown", false, "print the settings as tables for docs/configuration.md, without values")
	cli.AddFlags(cmd, config.All)
	return cmd
}

// shownSetting is a setting as --json prints it.
type shownSetting struct {
	Name    string `json:"name"`
	Flag    string `json:"flag"`
	Value   string `json:"value"`
	Origin  string `json:"origin"`
	Default string `json:"default"`
	Form    string `json:"form"`
	Meaning string `json:"meaning"`
}

func printConfig(cmd *cobra.Command, asJSON bool) error {
	cfg, err := load(config.All, cmd)
	if err != nil {
		return err
	}
	for _, warning := range cfg.Warnings() {
		cmd.PrintErrln("warning:", warning)
	}
	shown := each(config.Settings(), func(setting config.Setting) shownSetting {
		flag := setting.Flag
		if !setting.HasFlag() {
			flag = setting.FileFlag()
		}
		return shownSetting{setting.Name, "--" + flag, cfg.Value(setting.Name), string(cfg.Origin(setting.Name)), setting.Default, setting.Form, setting.Meaning}
	})
	if asJSON {
		return printJSON(cmd.OutOrStdout(), shown)
	}
	for _, setting := range shown {
		value := " = " + setting.Value + "  (" + setting.Origin + ")"
		if setting.Value == "" {
			value = " is not set"
		}
		fmt.Fprintf(cmd.OutOrStdout(), "%s%s\n    %s\n    %s: %s; default: %s\n\n", setting.Name, value, setting.Meaning, setting.Flag, setting.Form, cmp.Or(setting.Default, "none"))
	}
	return nil
}

func printSettingsTable(out io.Writer) {
	var group string
	for _, setting := range config.Settings() {
		if setting.Group != group {
			group = setting.Group
			fmt.Fprintf(out, "\n## %s\n\n| variable | default | meaning |\n| --- | --- | --- |\n", group)
		}
		name, value := "`"+setting.Name+"`", ""
		if setting.Secret != config.SecretNone {
			name += " (`…_FILE`)"
		}
		if setting.Default != "" {
			value = "`" + setting.Default + "`"
		}
		fmt.Fprintf(out, "| %s | %s | %s |\n", name, value, strings.ReplaceAll(setting.Meaning, "|", "\\|"))
	}
}
