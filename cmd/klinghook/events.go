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

	"github.com/spf13/cobra"

	"github.com/klinghook/klinghook/cmd/internal/cli"
	"github.com/klinghook/klinghook/config"
	"github.com/klinghook/klinghook/internal/admin/dashboard"
	"github.com/klinghook/klinghook/internal/store"
	"github.com/klinghook/klinghook/tasks"
)

func eventsCommand() *cobra.Command {
	return group("events", "Inspect received events", eventsListCommand(), eventsShowCommand())
}

func eventsListCommand() *cobra.Command {
	var filter store.EventFilter
	var list listFlags
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List events, most recently received first",
		Long: `list prints the stored events, most recently received first.

--json prints a list of objects with id, source (the protocol), type, platform, job_id,
received_at, processed_at (left out until downloads and notifications are queued),
secret (the fingerprint of the secret that verified it, left out if verification was
off) and test_callback (true if it looks like the test callback of Kling's console).
Times are RFC 3339 in UTC.`,
		Example: `  klinghook events list --job vid_abc123
  klinghook events list --type failed --json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			completeJob(&filter.Job)
			filter.Type, filter.Limit = cli.EventType(filter.Type), int(list.limit)
			return withStore(cmd, func(ctx context.Context, _ *config.Config, db *store.Store) error {
				events, err := db.Events(ctx, filter)
				if err != nil {
					return err
				}
				shown, err := withTests(ctx, db, each(events, newEventJSON))
				if err != nil {
					return err
				}
				return eventTable.print(cmd.OutOrStdout(), shown, list.asJSON)
			})
		},
	}
	jobFlags(cmd, &filter.Job)
	cmd.Flags().StringVar(&filter.Type, "type", "", "only events of this `type`, such as video.completed or completed")
	cmd.Flags().BoolVar(&filter.Unprocessed, "unprocessed", false, "only events whose downloads and notifications are not queued yet")
	list.add(cmd)
	cli.AddFlags(cmd, config.Store)
	return cmd
}

func eventsShowCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "show <event-id>",
		Short: "Show an event with its headers and its body",
		Long: `show prints an event as it was received. A prefix of the id is enough if no other
event has it, with or without the "…" of a table.

--json prints an object with the fields of "klinghook events list --json", headers
(those that verification needs) and body (exactly as it was signed; if it is not
UTF-8, body_base64 instead).`,
		Example: `  klinghook events show klingai:247582a5
  klinghook events show klingai:247582a5 --json | jq '.body | fromjson'`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, ids []string) error {
			return withStore(cmd, func(ctx context.Context, _ *config.Config, db *store.Store) error {
				event, err := findEvent(ctx, db, ids[0])
				if err != nil {
					return err
				}
				if asJSON {
					shown := newEventJSON(event)
					shown.Headers = event.Headers
					shown.Body, shown.BodyBase64 = textOrBytes(event.Body)
					return printJSON(cmd.OutOrStdout(), shown)
				}
				return printEvent(cmd.OutOrStdout(), event)
			})
		},
	}
	jsonFlag(cmd, &asJSON)
	cli.AddFlags(cmd, config.Store)
	return cmd
}

// findEvent returns the event with an id, or the only one whose id begins with it.
func findEvent(ctx context.Context, db *store.Store, id string) (store.StoredEvent, error) {
	id = strings.TrimSuffix(id, "…")
	event, err := db.Event(ctx, id)
	if !errors.Is(err, store.ErrNotFound) {
		return event, err
	}
	if id == "" {
		return event, cli.Usagef("the event id is empty")
	}
	matches, err := db.Events(ctx, store.EventFilter{IDPrefix: id, Limit: 2})
	switch {
	case err != nil:
		return event, err
	case len(matches) == 0:
		return event, fmt.Errorf("event %q: %w; `klinghook events list` lists all events", id, store.ErrNotFound)
	case len(matches) > 1:
		return event, cli.Usagef("more than one event begins with %q; write more of the id", id)
	}
	return matches[0], nil
}

// eventJSON is an event as --json prints it. Lists omit headers and body.
type eventJSON struct {
	dashboard.Event
	Headers    map[string]string `json:"headers,omitempty"`
	Body       string            `json:"body,omitempty"`
	BodyBase64 []byte            `json:"body_base64,omitempty"`
	test       string            // the text of a test callback
}

func newEventJSON(event store.StoredEvent) eventJSON {
	return eventJSON{Event: dashboard.NewEvent(event)}
}

// withTests marks the events of test callbacks.
func withTests(ctx context.Context, db *store.Store, events []eventJSON) ([]eventJSON, error) {
	keys := each(events, func(event eventJSON) tasks.JobKey { return tasks.JobKey{Platform: event.Platform, ID: event.JobID} })
	statuses, err := db.TestCallbacks(ctx, keys)
	for i, key := range keys {
		if status, found := statuses[key]; found {
			events[i].TestCallback, events[i].test = true, testText(dashboard.Job{TestCallback: true, Status: status})
		}
	}
	return events, err
}

// job returns the job's name for people.
func (e eventJSON) job() string { return tasks.JobKey{Platform: e.Platform, ID: e.JobID}.String() }

var eventTable = table[eventJSON]{
	"no events",
	[]string{"RECEIVED", "TYPE", "JOB", "PROCESSED", "EVENT"},
	func(event eventJSON) []string {
		processed := "yes"
		if event.ProcessedAt.IsZero() {
			processed = "no"
		}
		return []string{clock(event.ReceivedAt), event.Type + event.test, event.job(), processed, cut(event.ID, 32)}
	},
}

func printEvent(w io.Writer, event store.StoredEvent) error {
	fields := [][2]string{
		{"Event", event.ID}, {"Type", event.Type}, {"Job", event.Job.String()}, {"Source", event.Source},
		{"Received", clock(event.ReceivedAt)}, {"Processed", clock(event.ProcessedAt)}, {"Secret", event.Secret},
	}
	for _, name := range slices.Sorted(maps.Keys(event.Headers)) {
		fields = append(fields, [2]string{name, event.Headers[name]})
	}
	if err := printFields(w, fields); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "\n%s\n", escapeHidden(string(readableBody(event.Body))))
	return err
}

// readableBody indents a JSON body, unless nesting would make it far longer: 18 KB could
// become 162 MB of spaces.
func readableBody(body []byte) []byte {
	const maxGrowth, minLimit = 10, 4 << 10
	indented, err := json.MarshalIndent(json.RawMessage(body), "", "  ")
	if err != nil || len(indented) > max(maxGrowth*len(body), minLimit) {
		return body
	}
	return indented
}
