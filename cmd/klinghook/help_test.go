package main

import (
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/spf13/cobra"
)

// walk calls f with every command.
func walk(cmd *cobra.Command, f func(*cobra.Command)) {
	f(cmd)
	for _, c := range cmd.Commands() {
		walk(c, f)
	}
}

// helpOf is what --help prints.
func helpOf(t *testing.T, cmd *cobra.Command) string {
	t.Helper()
	var b strings.Builder
	cmd.SetOut(&b)
	cmd.InitDefaultHelpFlag()
	if err := cmd.Help(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestHelp(t *testing.T) {
	// cobra wrote the texts of these two, with tabs.
	foreign := regexp.MustCompile(`^klinghook (completion|help)\b`)
	walk(rootCommand(), func(cmd *cobra.Command) {
		t.Run(cmd.CommandPath(), func(t *testing.T) {
			help := helpOf(t, cmd)
			for line := range strings.Lines(help) {
				if line = strings.TrimSuffix(line, "\n"); utf8.RuneCountInString(line) > 100 {
					t.Errorf("a line has more than 100 columns: %s", line)
				}
				if strings.TrimRight(line, " ") != line {
					t.Errorf("a line ends in blanks: %q", line)
				}
			}
			if !strings.Contains(help, "\nUsage:\n  "+cmd.CommandPath()) {
				t.Errorf("the help does not say how to call it:\n%s", help)
			}
			if foreign.MatchString(cmd.CommandPath()) {
				return
			}
			if cmd.Short == "" || cmd.Long == "" {
				t.Error("it has no short or no long text")
			}
			if cmd.Example == "" && !cmd.HasSubCommands() && cmd.Name() != "version" {
				t.Error("it has no example")
			}
			if got := strings.Contains(help, "--insecure-skip-verify"); got != (cmd.Name() == "dev" || cmd.Name() == "send") {
				t.Errorf("--insecure-skip-verify in its help: %t", got)
			}
			if flag := cmd.Flags().Lookup("insecure-skip-verify"); (flag != nil) != (cmd.Name() == "dev") {
				t.Errorf("it has the flag --insecure-skip-verify: %t", flag != nil)
			}
		})
	})
}

// Programs read what --json prints: every field of it is in the help.
func TestHelpNamesEveryFieldOfJSON(t *testing.T) {
	tests := []struct {
		command string
		value   any
		// but are fields of the value that the command leaves out.
		but []string
	}{
		{"jobs list", jobJSON{}, nil},
		{"jobs show", mediaJSON{}, nil},
		{"jobs show", notificationJSON{}, nil},
		{"jobs show", struct {
			M any `json:"media"`
			N any `json:"notifications"`
			E any `json:"events"`
		}{}, nil},
		{"events list", eventJSON{}, []string{"headers", "body", "body_base64"}},
		{"events show", struct {
			H any `json:"headers"`
			B any `json:"body"`
			C any `json:"body_base64"`
		}{}, nil},
		{"config", shownSetting{}, nil},
		{"rejections list", rejectionJSON{}, nil},
		{"deadletters list", letterJSON{}, []string{"failures", "payload", "payload_base64"}},
	}
	for _, tt := range tests {
		t.Run(tt.command, func(t *testing.T) {
			cmd, _, err := rootCommand().Find(strings.Fields(tt.command))
			if err != nil {
				t.Fatal(err)
			}
			_, words, _ := strings.Cut(cmd.Long, "--json")
			for _, field := range reflect.VisibleFields(reflect.TypeOf(tt.value)) {
				name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
				if slices.Contains(tt.but, name) || regexp.MustCompile(`\b`+name+`\b`).MatchString(words) {
					continue
				}
				t.Errorf("the help does not say what %q is:\n%s", name, cmd.Long)
			}
		})
	}
}
