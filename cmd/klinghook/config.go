package main

import (
	"fmt"
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
		Long: `config prints every setting with the value that it has here and where that is
from, what it means, its form and its default. Of secrets it prints only that they
are set. Give it the flags that a process is given, to see what that makes of
them. With wrong settings it says instead what is wrong with each.

With --json it prints a list of objects with name, flag, value (redacted where it
is secret, empty when not set), origin (default, environment, file or flag),
default, form and meaning.`,
		Example: `  klinghook config
  klinghook config --json | jq -r '.[] | select(.origin != "default") | .name'`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch {
			case asJSON && asMarkdown:
				return cli.Usagef("give --json or --markdown, not both")
			case asMarkdown:
				return printSettingsTable(cmd)
			}
			return printConfig(cmd, asJSON)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.Flags().BoolVar(&asMarkdown, "markdown", false, "print the settings as the table in the README, without values")
	settings(cmd, config.All)
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
	var shown []shownSetting
	for _, s := range config.Settings() {
		shown = append(shown, shownSetting{
			Name: s.Name, Flag: flagOf(s), Value: cfg.Value(s.Name), Origin: string(cfg.Origin(s.Name)),
			Default: s.Default, Form: s.Form, Meaning: s.Meaning,
		})
	}
	if asJSON {
		return printJSON(cmd.OutOrStdout(), shown)
	}
	out := cmd.OutOrStdout()
	for _, s := range shown {
		text := valueText(s) + "\n"
		text += cli.Wrap(s.Meaning, "    ")
		text += cli.Wrap(fmt.Sprintf("%s: %s; default: %s", s.Flag, s.Form, orNone(s.Default)), "    ")
		if _, err := fmt.Fprintln(out, text); err != nil {
			return err
		}
	}
	return nil
}

func printSettingsTable(cmd *cobra.Command) error {
	out := cmd.OutOrStdout()
	fmt.Fprintln(out, "| variable | default | meaning |")
	fmt.Fprintln(out, "| --- | --- | --- |")
	for _, s := range config.Settings() {
		name := "`" + s.Name + "`"
		if s.HasFile() {
			name += " (`…_FILE`)"
		}
		value := ""
		if s.Default != "" {
			value = "`" + s.Default + "`"
		}
		fmt.Fprintf(out, "| %s | %s | %s |\n", name, value, strings.ReplaceAll(s.Meaning, "|", "\\|"))
	}
	return nil
}

func flagOf(s config.Setting) string {
	if s.HasFlag() {
		return "--" + s.Flag
	}
	return "--" + s.FileFlag()
}

// valueText is a setting's value and where it is from.
func valueText(s shownSetting) string {
	switch {
	case s.Value == "":
		return s.Name + " is not set"
	case s.Origin == string(config.FromDefault):
		return s.Name + " = " + s.Value + "  (default)"
	}
	return s.Name + " = " + s.Value + "  (from " + s.Origin + ")"
}

func orNone(text string) string {
	if text == "" {
		return "none"
	}
	return text
}
