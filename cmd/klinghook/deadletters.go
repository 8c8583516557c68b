package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/klinghook/klinghook/cmd/internal/cli"
	"github.com/klinghook/klinghook/config"
	"github.com/klinghook/klinghook/internal/admin/dashboard"
	"github.com/klinghook/klinghook/internal/store"
	"github.com/klinghook/klinghook/tasks"
	"github.com/klinghook/klinghook/worker"
)

func deadlettersCommand() *cobra.Command {
	return group("deadletters", "Inspect, replay and discard failed work",
		deadlettersListCommand(), deadlettersShowCommand(), deadlettersReplayCommand(), deadlettersDiscardCommand())
}

// letterChoice selects dead letters by a command's arguments and flags.
type letterChoice struct {
	filter              store.DeadLetterFilter
	kind, since, before string
	all                 bool
}

func (c *letterChoice) addFlags(cmd *cobra.Command) {
	flags := cmd.Flags()
	jobFlags(cmd, &c.filter.Job)
	flags.StringVar(&c.kind, "kind", "", "only tasks of this `kind`: "+strings.Join(kinds(), ", "))
	flags.StringVar(&c.filter.Error, "error", "", "only those whose last error contains this `text`")
	flags.StringVar(&c.since, "since", "", "only those that failed at or after this `time`: RFC 3339, or a duration ago, such as 90m")
	flags.StringVar(&c.before, "before", "", "only those that failed before this `time`")
}

// resolve reads ids and flags into the filter.
func (c *letterChoice) resolve(ids []string, now time.Time) (err error) {
	for _, id := range ids {
		n, err := strconv.ParseInt(id, 10, 64)
		if err != nil || n < 1 {
			return cli.Usagef("%q is not the id of a dead letter; `klinghook deadletters list` lists them", id)
		}
		c.filter.IDs = append(c.filter.IDs, n)
	}
	completeJob(&c.filter.Job)
	if c.kind != "" {
		if err := oneOf("kind", c.kind, kinds()); err != nil {
			return err
		}
	}
	c.filter.Kind = tasks.Kind(c.kind)
	if c.filter.Since, err = timeOf("since", c.since, now); err != nil {
		return err
	}
	c.filter.Before, err = timeOf("before", c.before, now)
	return err
}

// isSet reports whether an id or a filter is given.
func (c *letterChoice) isSet() bool {
	filter := c.filter
	return len(filter.IDs) > 0 || filter.Job != (tasks.JobKey{}) || filter.Kind != "" || filter.Error != "" || !filter.Since.IsZero() || !filter.Before.IsZero()
}

// timeOf reads a time, or a duration before now. It returns the zero time for no text.
func timeOf(flag, text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if ago, err := time.ParseDuration(text); err == nil && ago >= 0 {
		return now.Add(-ago), nil
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return time.Time{}, cli.Usagef("--%s is %q; must be a time such as 2026-01-31T12:00:00Z, or a duration ago, such as 90m", flag, text)
	}
	return at, nil
}

func kinds() []string {
	return each(tasks.Policies(), func(policy tasks.Policy) string { return string(policy.Kind) })
}

func deadlettersListCommand() *cobra.Command {
	var choice letterChoice
	var list listFlags
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List dead letters, oldest first",
		Long: `A dead letter is a task that ran out of attempts, failed permanently or was archived by
an operator. list prints those that are still dead. A dead letter ends when it is
replayed or discarded, or becomes done: a rerun from the queue pages or another event
did its work.

--json prints a list of objects with id, kind, task_id, platform, job_id, event_id,
error, failed_at, state (dead, replayed, discarded, done) and ended_at. Unknown fields are
left out. Times are RFC 3339 in UTC.`,
		Example: `  klinghook deadletters list --kind media:download --error 404
  klinghook deadletters list --since 24h --json | jq length`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := choice.resolve(nil, time.Now()); err != nil {
				return err
			}
			choice.filter.Limit, choice.filter.Outline = int(list.limit), true
			return withStore(cmd, func(ctx context.Context, _ *config.Config, db *store.Store) error {
				letters, err := db.DeadLetters(ctx, choice.filter)
				if err != nil {
					return err
				}
				return letterTable.print(cmd.OutOrStdout(), each(letters, newLetterJSON), list.asJSON)
			})
		},
	}
	choice.addFlags(cmd)
	cmd.Flags().BoolVar(&choice.filter.Ended, "ended", false, "also list those that were replayed, discarded or done")
	list.add(cmd)
	cli.AddFlags(cmd, config.Store)
	return cmd
}

func deadlettersShowCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "show <id>",
		Short: "Show a dead letter with its payload and every attempt",
		Long: `show prints a dead letter with the payload of its task and the error of each attempt.

--json prints an object with the fields of "klinghook deadletters list --json",
failures (attempt, at, duration_seconds, error) and payload.`,
		Example: `  klinghook deadletters show 17`,
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, ids []string) error {
			choice := letterChoice{filter: store.DeadLetterFilter{Ended: true}}
			if err := choice.resolve(ids, time.Now()); err != nil {
				return err
			}
			return withStore(cmd, func(ctx context.Context, _ *config.Config, db *store.Store) error {
				letters, err := db.DeadLetters(ctx, choice.filter)
				if err != nil {
					return err
				}
				if len(letters) == 0 {
					return fmt.Errorf("dead letter %s: %w", ids[0], store.ErrNotFound)
				}
				letter := newLetterJSON(letters[0])
				letter.Payload, letter.PayloadBase64 = textOrBytes(letters[0].Task.Payload)
				if asJSON {
					return printJSON(cmd.OutOrStdout(), letter)
				}
				return printLetter(cmd.OutOrStdout(), letter)
			})
		},
	}
	jsonFlag(cmd, &asJSON)
	cli.AddFlags(cmd, config.Store)
	return cmd
}

func deadlettersReplayCommand() *cobra.Command {
	return endCommand("replay", "Run the work of dead letters again",
		`replay enqueues the tasks of dead letters again, with all their attempts. Repeating it
is safe: work that is queued or done is not done twice. Signatures of events are
verified again, so their secrets must still be set.`,
		"replayed", (*worker.Replayer).Replay)
}

func deadlettersDiscardCommand() *cobra.Command {
	return endCommand("discard", "Discard dead letters",
		`discard marks dead letters as discarded. Their work stays undone.
"klinghook deadletters list --ended" still lists them.`,
		"discarded", (*worker.Replayer).Discard)
}

// letterJSON is a dead letter as --json prints it. Lists leave out failures and payload.
type letterJSON struct {
	dashboard.DeadLetter
	Payload       string `json:"payload,omitempty"`
	PayloadBase64 []byte `json:"payload_base64,omitempty"`
}

func newLetterJSON(letter store.DeadLetter) letterJSON {
	return letterJSON{DeadLetter: dashboard.NewDeadLetter(letter)}
}

// job returns the job's name for people.
func (l letterJSON) job() string { return tasks.JobKey{Platform: l.Platform, ID: l.JobID}.String() }

var letterTable = table[letterJSON]{
	"no dead letters",
	[]string{"ID", "KIND", "JOB", "FAILED", "STATE", "ERROR"},
	func(letter letterJSON) []string {
		return []string{strconv.FormatInt(letter.ID, 10), letter.Kind, letter.job(), clock(letter.FailedAt), letter.State, errorText(letter.Error)}
	},
}

func printLetter(w io.Writer, letter letterJSON) error {
	state := letter.State
	if state == string(store.DeadLetterDone) {
		state = "done: another run of the task or another event did the work"
	}
	err := printFields(w, [][2]string{
		{"Dead letter", strconv.FormatInt(letter.ID, 10)}, {"State", state}, {"Ended", clock(letter.EndedAt)},
		{"Kind", letter.Kind}, {"Task", letter.TaskID}, {"Job", letter.job()}, {"Event", letter.EventID}, {"Failed", clock(letter.FailedAt)},
	})
	_, payloadErr := fmt.Fprintf(w, "\nPayload\n%s\n", oneLine(letter.Payload+string(letter.PayloadBase64)))
	return errors.Join(err, payloadErr, table[store.Failure]{"", []string{"ATTEMPT", "AT", "TOOK", "ERROR"}, func(failure store.Failure) []string {
		return []string{strconv.Itoa(failure.Attempt), clock(failure.At), seconds(failure.DurationSeconds), failure.Error}
	}}.section(w, "Attempts", letter.Failures))
}
