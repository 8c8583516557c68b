package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/klinghook/klinghook/cmd/internal/cli"
	"github.com/klinghook/klinghook/config"
	"github.com/klinghook/klinghook/internal/admin/dashboard"
	"github.com/klinghook/klinghook/internal/store"
)

func destinationsCommand() *cobra.Command {
	return group("destinations", "Inspect, pause and resume destinations of notifications",
		destinationsListCommand(), destinationsShowCommand(), destinationsPauseCommand(), destinationsResumeCommand())
}

func destinationsListCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List destinations with their state and latest attempt",
		Long: `list lists the destinations that workers have in their settings: chat services and
forwards. A destination is working, failing (its last attempt failed), paused, or
unknown (no worker has had it for a day).

A destination is paused if every attempt fails for a day, or by "klinghook destinations
pause". Its notifications then wait, which costs no attempts. After a pause by failures,
single messages test the destination, first after a minute and later once an hour.

--json prints a list of objects with name, state (working, failing, paused, unknown),
failing_since (the first failed attempt since the last success), paused_at, paused_by
(failures, operator), probe_at (when a message tests it next), waiting (pending
notifications; counts stop at 100,000), configured_at (when a worker last had it in
its settings) and last_attempt, which has the fields of attempts in "klinghook
destinations show --json". Unknown fields are left out. Times are RFC 3339 in UTC.`,
		Example: `  klinghook destinations list
  klinghook destinations list --json | jq -r '.[] | select(.state != "working") | .name'`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withStore(cmd, func(ctx context.Context, _ *config.Config, db *store.Store) error {
				list, err := db.Destinations(ctx)
				if err != nil {
					return err
				}
				shown := make([]destinationJSON, len(list))
				for i, destination := range list {
					if shown[i], err = readDestination(ctx, db, destination, 1); err != nil {
						return err
					}
					shown[i].Attempts = nil
				}
				return destinationTable.print(cmd.OutOrStdout(), shown, asJSON)
			})
		},
	}
	jsonFlag(cmd, &asJSON)
	cli.AddFlags(cmd, config.Store)
	return cmd
}

func destinationsShowCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "show <name>",
		Short: "Show a destination with its latest attempts",
		Long: `show prints a destination and its latest 50 attempts, newest first.

--json prints an object with the fields of "klinghook destinations list --json" and
attempts, a list of notification_id, at, duration_seconds, status (of a forward's
answer; left out if there was none), answer (its first KiB) and error (left out if
the attempt succeeded). An answer may repeat parts of the message.`,
		Example: `  klinghook destinations show shop
  klinghook destinations show shop --json | jq '.attempts[0].answer'`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, names []string) error {
			return withStore(cmd, func(ctx context.Context, _ *config.Config, db *store.Store) error {
				destination, err := db.Destination(ctx, names[0])
				if err != nil {
					return unknownDestination(names[0], err)
				}
				shown, err := readDestination(ctx, db, destination, 50)
				if err != nil {
					return err
				}
				if asJSON {
					return printJSON(cmd.OutOrStdout(), shown)
				}
				return printDestination(cmd.OutOrStdout(), shown)
			})
		},
	}
	jsonFlag(cmd, &asJSON)
	cli.AddFlags(cmd, config.Store)
	return cmd
}

func destinationsPauseCommand() *cobra.Command {
	return switchCommand("pause", "Stop sending to destinations",
		`pause stops sending to destinations, until "klinghook destinations resume". Their
notifications wait, which costs no attempts. A message being sent may still arrive.`,
		"paused", func(ctx context.Context, db *store.Store, name string) error {
			return db.PauseDestination(ctx, name, time.Now())
		})
}

func destinationsResumeCommand() *cobra.Command {
	return switchCommand("resume", "Send to paused destinations again",
		`resume ends a pause. Within a minute a worker sends the waiting notifications, at the
destination's rate. If every attempt fails for another day, it is paused again.`,
		"resumed", func(ctx context.Context, db *store.Store, name string) error { return db.ResumeDestination(ctx, name) })
}

// switchCommand returns a command that pauses or resumes destinations.
func switchCommand(name, short, long, done string, change func(context.Context, *store.Store, string) error) *cobra.Command {
	cmd := &cobra.Command{
		Use:     name + " <name>...",
		Short:   short,
		Long:    long,
		Example: "  klinghook destinations " + name + " shop",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, names []string) error {
			return withStore(cmd, func(ctx context.Context, _ *config.Config, db *store.Store) error {
				var errs []error
				for _, name := range names {
					if err := change(ctx, db, name); err != nil {
						errs = append(errs, unknownDestination(name, err))
						continue
					}
					_, err := fmt.Fprintf(cmd.OutOrStdout(), "%s  %s\n", name, done)
					errs = append(errs, err)
				}
				return errors.Join(errs...)
			})
		},
	}
	cli.AddFlags(cmd, config.Store)
	return cmd
}

// unknownDestination adds advice to the error for an unknown name.
func unknownDestination(name string, err error) error {
	if errors.Is(err, store.ErrNotFound) {
		return fmt.Errorf("destination %q: %w; `klinghook destinations list` lists the known ones", name, store.ErrNotFound)
	}
	return err
}

// destinationJSON is a destination as --json prints it. Lists omit attempts.
type destinationJSON struct {
	Name         string        `json:"name"`
	State        string        `json:"state"`
	FailingSince time.Time     `json:"failing_since,omitzero"`
	PausedAt     time.Time     `json:"paused_at,omitzero"`
	PausedBy     string        `json:"paused_by,omitempty"`
	ProbeAt      time.Time     `json:"probe_at,omitzero"`
	Waiting      int           `json:"waiting"`
	ConfiguredAt time.Time     `json:"configured_at"`
	LastAttempt  *attemptJSON  `json:"last_attempt,omitempty"`
	Attempts     []attemptJSON `json:"attempts,omitempty"`
}

type attemptJSON struct {
	NotificationID string `json:"notification_id"`
	dashboard.SendAttempt
}

// readDestination returns a destination with at most limit attempts.
func readDestination(ctx context.Context, db *store.Store, d store.Destination, limit int) (destinationJSON, error) {
	waiting, countErr := db.CountPending(ctx, d.Name)
	attempts, err := db.AttemptsAt(ctx, d.Name, limit)
	shown := destinationJSON{
		Name: d.Name, State: stateOf(d, time.Now()), FailingSince: d.FailingSince, PausedAt: d.PausedAt, PausedBy: string(d.PausedBy), ProbeAt: d.ProbeAt,
		Waiting: waiting, ConfiguredAt: d.ConfiguredAt,
		Attempts: each(attempts, func(attempt store.SendAttempt) attemptJSON {
			return attemptJSON{attempt.NotificationID, dashboard.NewSendAttempt(attempt)}
		}),
	}
	if len(shown.Attempts) > 0 {
		shown.LastAttempt = &shown.Attempts[0]
	}
	return shown, errors.Join(err, countErr)
}

// stateOf returns the state of a destination in a word.
func stateOf(d store.Destination, now time.Time) string {
	switch {
	case now.Sub(d.ConfiguredAt) > 24*time.Hour:
		return "unknown"
	case !d.PausedAt.IsZero():
		return "paused"
	case !d.FailingSince.IsZero():
		return "failing"
	}
	return "working"
}

var destinationTable = table[destinationJSON]{
	"no destinations; a worker records those in its settings when it starts",
	[]string{"NAME", "STATE", "SINCE", "WAITING", "LAST ATTEMPT", "ANSWER", "ERROR"},
	func(d destinationJSON) []string {
		since := d.FailingSince
		if d.State == "paused" {
			since = d.PausedAt
		}
		row := []string{d.Name, d.State, clock(since), strconv.Itoa(d.Waiting), "", "", ""}
		if last := d.LastAttempt; last != nil {
			row[4], row[5], row[6] = clock(last.At), last.statusText(), errorText(last.Error)
		}
		return row
	},
}

func (a attemptJSON) statusText() string {
	if a.Status == 0 {
		return ""
	}
	return strconv.Itoa(a.Status)
}

func printDestination(w io.Writer, d destinationJSON) error {
	return errors.Join(
		printFields(w, [][2]string{
			{"Destination", d.Name}, {"State", d.State}, {"Failing since", clock(d.FailingSince)}, {"Paused", clock(d.PausedAt)}, {"Paused by", d.PausedBy},
			{"Next try", clock(d.ProbeAt)}, {"Waiting", strconv.Itoa(d.Waiting)}, {"Configured", clock(d.ConfiguredAt)},
		}),
		table[attemptJSON]{"", []string{"AT", "DURATION", "STATUS", "NOTIFICATION", "ANSWER", "ERROR"}, func(a attemptJSON) []string {
			return []string{clock(a.At), seconds(a.DurationSeconds), a.statusText(), a.NotificationID, cut(a.Answer, 60), errorText(a.Error)}
		}}.section(w, "Attempts", d.Attempts),
	)
}
