package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/klinghook/klinghook/cmd/internal/cli"
	"github.com/klinghook/klinghook/config"
	"github.com/klinghook/klinghook/internal/store"
	"github.com/klinghook/klinghook/tasks"
)

func eventsCommand() *cobra.Command {
	return group("events", "Look at the events that were received", eventsListCommand(), eventsShowCommand())
}

func eventsListCommand() *cobra.Command {
	var filter store.EventFilter
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List events, the one received last first",
		Long: `list lists the events that were received and recorded, the last one first.

With --json it prints a list of objects with id, source (the protocol), type,
job_id, received_at, processed_at (left out while downloads and notifications are
still to be queued) and secret (the fingerprint of the secret that verified it;
left out when verification was off). Times are RFC 3339, UTC.`,
		Example: `  klinghook events list --job vid_abc123
  klinghook events list --type failed --json`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkLimit(filter.Limit); err != nil {
				return err
			}
			filter.Type = eventType(filter.Type)
			return withStore(cmd, func(ctx context.Context, db *store.Store) error {
				events, err := db.Events(ctx, filter)
				if err != nil {
					return err
				}
				return printEvents(cmd.OutOrStdout(), events, asJSON)
			})
		},
	}
	cmd.Flags().StringVar(&filter.JobID, "job", "", "only events of this `job-id`")
	cmd.Flags().StringVar(&filter.Type, "type", "", "only events of this `type`, such as video.completed or completed")
	cmd.Flags().BoolVar(&filter.Unprocessed, "unprocessed", false, "only events whose downloads and notifications are still to be queued")
	cmd.Flags().IntVar(&filter.Limit, "limit", 50, "list `n` at most; 0 is no limit")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	completes(cmd, "type", tasks.KnownTypes()...)
	settings(cmd, config.Store)
	return cmd
}

func eventsShowCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "show <event-id>",
		Short: "Show an event with its headers and its body",
		Long: `show prints an event as it was received. The id may be cut short as long as only
one event begins so, and a table's "…" at its end does no harm.

With --json it prints an object as those of "klinghook events list --json", with
headers (those that its verification needs) and body (the text as it was signed;
one that is not UTF-8 is in body_base64 instead).`,
		Example: `  klinghook events show klingai:247582a5
  klinghook events show klingai:247582a5 --json | jq '.body | fromjson'`,
		Args: oneArg("one event id, or its beginning"),
		RunE: func(cmd *cobra.Command, given []string) error {
			return withStore(cmd, func(ctx context.Context, db *store.Store) error {
				ev, err := findEvent(ctx, db, given[0])
				if err != nil {
					return err
				}
				if asJSON {
					return printJSON(cmd.OutOrStdout(), newEventJSON(ev, true))
				}
				return printEvent(cmd.OutOrStdout(), ev)
			})
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	settings(cmd, config.Store)
	return cmd
}

// findEvent returns the event with an id, or the only one whose id begins so.
func findEvent(ctx context.Context, db *store.Store, id string) (store.StoredEvent, error) {
	id = strings.TrimSuffix(id, "…")
	ev, err := db.Event(ctx, id)
	if !errors.Is(err, store.ErrNotFound) {
		return ev, err
	}
	matches, prefixErr := db.Events(ctx, store.EventFilter{IDPrefix: id, Limit: 2})
	switch {
	case prefixErr != nil:
		return ev, prefixErr
	case len(matches) == 0:
		return ev, fmt.Errorf("event %q: %w; `klinghook events list` lists those there are", id, store.ErrNotFound)
	case len(matches) > 1:
		return ev, cli.Usagef("more than one event begins with %q; write more of the id", id)
	}
	return matches[0], nil
}

// eventJSON is an event as --json prints it, in lists without headers and body. A
// body that is not UTF-8 is in body_base64. Names once printed stay.
type eventJSON struct {
	ID          string            `json:"id"`
	Source      string            `json:"source"`
	Type        string            `json:"type"`
	JobID       string            `json:"job_id,omitempty"`
	ReceivedAt  time.Time         `json:"received_at"`
	ProcessedAt time.Time         `json:"processed_at,omitzero"`
	Secret      string            `json:"secret,omitempty"`
	Headers     map[string]string `json:"headers,omitempty"`
	Body        string            `json:"body,omitempty"`
	BodyBase64  []byte            `json:"body_base64,omitempty"`
}

func newEventJSON(ev store.StoredEvent, withBody bool) eventJSON {
	shown := eventJSON{
		ID: ev.ID, Source: ev.Source, Type: ev.Type, JobID: ev.JobID, ReceivedAt: ev.ReceivedAt,
		ProcessedAt: ev.ProcessedAt, Secret: ev.Secret,
	}
	if withBody {
		shown.Headers = ev.Headers
		shown.Body, shown.BodyBase64 = textOrBytes(ev.Body)
	}
	return shown
}

func printEvents(w io.Writer, events []store.StoredEvent, asJSON bool) error {
	if asJSON {
		list := make([]eventJSON, 0, len(events))
		for _, ev := range events {
			list = append(list, newEventJSON(ev, false))
		}
		return printJSON(w, list)
	}
	if len(events) == 0 {
		_, err := fmt.Fprintln(w, "no events")
		return err
	}
	var rows [][]string
	for _, ev := range events {
		rows = append(rows, []string{clock(ev.ReceivedAt), ev.Type, ev.JobID, processedText(ev), cut(ev.ID, 32)})
	}
	return printTable(w, []string{"RECEIVED", "TYPE", "JOB", "PROCESSED", "EVENT"}, rows)
}

func processedText(ev store.StoredEvent) string {
	if ev.ProcessedAt.IsZero() {
		return "no"
	}
	return "yes"
}

func printEvent(w io.Writer, ev store.StoredEvent) error {
	fields := [][2]string{
		{"Event", ev.ID}, {"Type", ev.Type}, {"Job", ev.JobID}, {"Source", ev.Source},
		{"Received", clock(ev.ReceivedAt)}, {"Processed", clock(ev.ProcessedAt)}, {"Secret", ev.Secret},
	}
	for _, name := range slices.Sorted(maps.Keys(ev.Headers)) {
		fields = append(fields, [2]string{name, ev.Headers[name]})
	}
	if err := printFields(w, fields); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "\n%s\n", terminalSafe(string(readableBody(ev.Body))))
	return err
}

// readableBody returns a body indented where it is JSON. One that is nested so
// deeply that it would be little but blanks (18 KB can become 162 MB) stays as it
// is.
func readableBody(body []byte) []byte {
	const mostGrowth, least = 10, 4 << 10
	indented, err := json.MarshalIndent(json.RawMessage(body), "", "  ")
	if err != nil || len(indented) > max(mostGrowth*len(body), least) {
		return body
	}
	return indented
}
