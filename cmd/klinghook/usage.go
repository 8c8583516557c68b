package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/klinghook/klinghook/cmd/internal/cli"
	"github.com/klinghook/klinghook/config"
)

// speakOurWay makes cobra's own words and commands follow ours: the layout of the
// help, usage errors that exit with 2, and no file names where none is wanted.
func speakOurWay(root *cobra.Command) {
	root.SetUsageFunc(printUsage)
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		// A flag of a command that was misspelt is not what is wrong.
		if given := cmd.Flags().Args(); cmd.HasSubCommands() && len(given) > 0 {
			return unknownCommand(cmd, given[0])
		}
		return cli.FlagError(cmd.CommandPath(), cmd.Flags(), err)
	})
	root.CompletionOptions.SetDefaultShellCompDirective(cobra.ShellCompDirectiveNoFileComp)
	root.InitDefaultCompletionCmd()
	root.InitDefaultHelpCmd()
	holdOthers(root)
	for _, cmd := range root.Commands() {
		switch cmd.Name() {
		case "completion":
			cmd.Short = "Print a script that completes commands in your shell"
			holdOthers(cmd)
			for _, shell := range cmd.Commands() {
				shell.Args = noArgs
			}
		case "help":
			cmd.Run = nil
			cmd.RunE = showHelp
		}
	}
}

// settings adds a flag for each setting of the role, or for those that are named.
func settings(cmd *cobra.Command, role config.Role, names ...string) {
	cli.AddFlags(cmd.Flags(), role, names...)
	files, dirs := cli.FileFlags(cmd.Flags())
	for _, flag := range files {
		must(cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(nil, cobra.ShellCompDirectiveDefault)))
	}
	for _, flag := range dirs {
		must(cmd.MarkFlagDirname(flag))
	}
}

// completes makes a shell complete a flag's value to one of the words.
func completes(cmd *cobra.Command, flag string, words ...string) {
	must(cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp)))
}

// must stops a program that was put together wrongly, as it would be at every
// start.
func must(err error) {
	if err != nil {
		panic(err)
	}
}

// group is a command that only holds others.
func group(use, short string, commands ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{Use: use, Short: short, Long: short + "."}
	cmd.AddCommand(commands...)
	holdOthers(cmd)
	return cmd
}

// holdOthers makes a command without work of its own print its help, and refuse
// what is none of its commands.
func holdOthers(cmd *cobra.Command) {
	cmd.Args = func(cmd *cobra.Command, given []string) error {
		if len(given) > 0 {
			return unknownCommand(cmd, given[0])
		}
		return nil
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
}

// unknownCommand is the error for a word that is no command of cmd.
func unknownCommand(cmd *cobra.Command, word string) error {
	meant := ""
	for cmd.SuggestionsMinimumDistance = 1; cmd.SuggestionsMinimumDistance <= 2 && meant == ""; cmd.SuggestionsMinimumDistance++ {
		if near := cmd.SuggestionsFor(word); len(near) > 0 {
			meant = fmt.Sprintf("did you mean `%s %s`? ", cmd.CommandPath(), near[0])
		}
	}
	return cli.Usagef("there is no command %q; %s`%s --help` lists the commands", cmd.CommandPath()+" "+word, meant, cmd.CommandPath())
}

// showHelp is the help command.
func showHelp(cmd *cobra.Command, words []string) error {
	topic := cmd.Root()
	for _, word := range words {
		at := slices.IndexFunc(topic.Commands(), func(c *cobra.Command) bool { return c.Name() == word })
		if at < 0 {
			return unknownCommand(topic, word)
		}
		topic = topic.Commands()[at]
	}
	topic.InitDefaultHelpFlag()
	topic.InitDefaultVersionFlag()
	return topic.Help()
}

// noArgs refuses arguments.
func noArgs(cmd *cobra.Command, given []string) error {
	if len(given) > 0 {
		return cli.Usagef("%s takes no arguments, but was given %q; usage: %s", cmd.Name(), given[0], cmd.UseLine())
	}
	return nil
}

// oneArg wants exactly one argument, which what names in words.
func oneArg(what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, given []string) error {
		if len(given) != 1 || given[0] == "" {
			return cli.Usagef("%s takes %s; usage: %s", cmd.Name(), what, cmd.UseLine())
		}
		return nil
	}
}

// oneOf refuses a flag's value that is none of those there are.
func oneOf(flag, value string, known []string) error {
	if slices.Contains(known, value) {
		return nil
	}
	return cli.Usagef("--%s is %q; it can be %s", flag, value, strings.Join(known, ", "))
}

// printUsage prints what follows a help text: how to call the command, examples,
// its commands and its flags.
func printUsage(cmd *cobra.Command) error {
	var b strings.Builder
	if cmd.HasSubCommands() {
		fmt.Fprintf(&b, "Usage:\n  %s <command>\n", cmd.CommandPath())
	} else {
		fmt.Fprintf(&b, "Usage:\n  %s\n", cmd.UseLine())
	}
	if cmd.HasExample() {
		fmt.Fprintf(&b, "\nExamples:\n%s\n", cmd.Example)
	}
	for _, g := range cmd.Groups() {
		writeCommands(&b, cmd, g.ID, g.Title)
	}
	writeCommands(&b, cmd, "", "Commands:")
	out := cmd.OutOrStdout()
	if _, err := io.WriteString(out, b.String()); err != nil {
		return err
	}
	if err := cli.WriteFlags(out, cmd.Flags()); err != nil {
		return err
	}
	if !cmd.HasSubCommands() {
		return nil
	}
	_, err := fmt.Fprintf(out, "\n`%s <command> --help` tells more of a command.\n", cmd.CommandPath())
	return err
}

// writeCommands lists the commands of a group; nothing when it has none.
func writeCommands(b *strings.Builder, cmd *cobra.Command, groupID, title string) {
	for _, c := range cmd.Commands() {
		if c.GroupID != groupID || !c.IsAvailableCommand() && c.Name() != "help" {
			continue
		}
		if title != "" {
			fmt.Fprintf(b, "\n%s\n", title)
			title = ""
		}
		fmt.Fprintf(b, "  %-12s%s\n", c.Name(), c.Short)
	}
}
