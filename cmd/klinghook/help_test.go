package main

import (
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/klinghook/klinghook/internal/admin/dashboard"
	"github.com/klinghook/klinghook/internal/testenv"
)

// walk calls f for a command and its subcommands.
func walk(cmd *cobra.Command, f func(*cobra.Command)) {
	f(cmd)
	for _, c := range cmd.Commands() {
		walk(c, f)
	}
}

func TestEveryCommandIsExplained(t *testing.T) {
	walk(rootCommand(), func(cmd *cobra.Command) {
		t.Run(cmd.CommandPath(), func(t *testing.T) {
			if cmd.Short == "" {
				t.Error("no short text")
			}
			if !cmd.HasSubCommands() && (cmd.Long == "" || cmd.Example == "" && cmd.Name() != "version") {
				t.Error("no long text or no example")
			}
			for line := range strings.Lines(cmd.Long + "\n" + cmd.Example) {
				if n := utf8.RuneCountInString(strings.TrimSpace(line)); n > 100 {
					t.Errorf("a line of %d columns: %s", n, line)
				}
			}
			if flag := cmd.Flags().Lookup("insecure-skip-verify"); (flag != nil) != (cmd.Name() == "dev") {
				t.Errorf("has the flag --insecure-skip-verify: %t", flag != nil)
			}
		})
	})
}

// Programs read what --json prints.
func TestHelpNamesEveryFieldOfJSON(t *testing.T) {
	tests := []struct {
		command string
		value   any
		but     []string // fields that the command omits
	}{
		{"jobs list", dashboard.Job{}, nil},
		{"jobs show", dashboard.Media{}, nil},
		{"jobs show", dashboard.Notification{}, nil},
		{"jobs show", dashboard.SendAttempt{}, nil},
		{"jobs show", dashboard.Lookups{}, nil},
		{"jobs show", dashboard.LookupAnswer{}, nil},
		{"jobs show", dashboard.TaskAttempt{}, nil},
		{"jobs show", struct {
			M any `json:"media"`
			N any `json:"notifications"`
			E any `json:"events"`
			L any `json:"lookups"`
			P any `json:"attempts"`
			D any `json:"dead_letters"`
			R any `json:"repeat"`
			T any `json:"late"`
			A any `json:"repeated_at"`
		}{}, nil},
		{"events list", eventJSON{}, []string{"headers", "body", "body_base64", "repeat", "late", "repeated_at"}},
		{"events show", struct {
			H any `json:"headers"`
			B any `json:"body"`
			C any `json:"body_base64"`
		}{}, nil},
		{"destinations list", destinationJSON{}, []string{"attempts"}},
		{"destinations show", attemptJSON{}, nil},
		{"config", shownSetting{}, nil},
		{"rejections list", rejectionJSON{}, nil},
		{"deadletters list", letterJSON{}, []string{"failures", "payload", "payload_base64"}},
	}
	for _, tt := range tests {
		t.Run(tt.command, func(t *testing.T) {
			cmd, _, err := rootCommand().Find(strings.Fields(tt.command))
			testenv.NoError(t, err)
			_, words, _ := strings.Cut(cmd.Long, "--json")
			for _, field := range reflect.VisibleFields(reflect.TypeOf(tt.value)) {
				name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
				if slices.Contains(tt.but, name) || regexp.MustCompile(`\b`+name+`\b`).MatchString(words) {
					continue
				}
				t.Errorf("the help does not explain %q:\n%s", name, cmd.Long)
			}
		})
	}
}
