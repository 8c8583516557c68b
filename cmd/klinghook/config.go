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
from, its default, and what it means. Of secrets it prints only that they are
set. With wrong settings it says what is wrong with each.`,
		Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if asMarkdown {
				return printSettingsTable(cmd)
			}
			return printConfig(cmd, asJSON)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.Flags().BoolVar(&asMarkdown, "markdown", false, "print the table of settings as the README has it, without values")
	cli.AddFlags(cmd.Flags(), config.All)
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
		value := s.Value
		if value == "" {
			value = "(not set)"
		}
		fmt.Fprintf(out, "%s = %s\n", s.Name, value)
		fmt.Fprintf(out, "    %s\n", s.Meaning)
		fmt.Fprintf(out, "    from: %s · default: %s · flag: %s · form: %s\n\n", s.Origin, orNone(s.Default), s.Flag, s.Form)
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

func orNone(text string) string {
	if text == "" {
		return "none"
	}
	return text
}
