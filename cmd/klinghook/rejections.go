package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/klinghook/klinghook/config"
	"github.com/klinghook/klinghook/internal/store"
	"github.com/klinghook/klinghook/tasks"
)

func rejectionsCommand() *cobra.Command {
	return group("rejections", "Look at deliveries that were refused", rejectionsListCommand())
}

func rejectionsListCommand() *cobra.Command {
	var filter store.RejectionFilter
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List a sample of the refused deliveries, the newest first",
		Long: `list lists deliveries that ingest refused: of many a few a second are kept, and of
those the newest 1,000. All are counted in the metric klinghook_deliveries_total.

With --json it prints a list of objects with id, received_at, source (the
protocol of the endpoint), reason (invalid_signature, malformed, too_large, encoded,
cut_short, busy, unknown_token, off), detail, peer, headers (credentials and
signatures only as their length), and body, or body_base64 where it is not UTF-8:
how the body begins, 4 KiB at most.`,
		Example: `  klinghook rejections list --reason invalid_signature
  klinghook rejections list --json | jq -r '.[0].headers'`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkLimit(filter.Limit); err != nil {
				return err
			}
			return withStore(cmd, func(ctx context.Context, db *store.Store) error {
				list, err := db.Rejections(ctx, filter)
				if err != nil {
					return err
				}
				return printRejections(cmd.OutOrStdout(), list, asJSON)
			})
		},
	}
	cmd.Flags().StringVar(&filter.Reason, "reason", "", "only those refused for this `reason`")
	cmd.Flags().IntVar(&filter.Limit, "limit", 50, "list `n` at most; 0 is no limit")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	settings(cmd, config.Store)
	return cmd
}

// rejectionJSON is a refused delivery as --json prints it.
type rejectionJSON struct {
	ID         string            `json:"id"`
	ReceivedAt time.Time         `json:"received_at"`
	Source     string            `json:"source"`
	Reason     string            `json:"reason"`
	Detail     string            `json:"detail,omitempty"`
	Peer       string            `json:"peer"`
	Headers    map[string]string `json:"headers"`
	Body       string            `json:"body,omitempty"`
	BodyBase64 []byte            `json:"body_base64,omitempty"`
}

func newRejectionJSON(r tasks.Rejection) rejectionJSON {
	shown := rejectionJSON{ID: r.ID, ReceivedAt: r.ReceivedAt, Source: r.Source, Reason: r.Reason, Detail: r.Detail, Peer: r.Peer, Headers: r.Headers}
	shown.Body, shown.BodyBase64 = textOrBytes(r.Body)
	return shown
}

func printRejections(w io.Writer, list []tasks.Rejection, asJSON bool) error {
	if asJSON {
		shown := make([]rejectionJSON, 0, len(list))
		for _, r := range list {
			shown = append(shown, newRejectionJSON(r))
		}
		return printJSON(w, shown)
	}
	if len(list) == 0 {
		_, err := fmt.Fprintln(w, "no rejections")
		return err
	}
	var rows [][]string
	for _, r := range list {
		rows = append(rows, []string{clock(r.ReceivedAt), r.Source, r.Reason, r.Peer, cut(r.Detail, 60)})
	}
	return printTable(w, []string{"RECEIVED", "SOURCE", "REASON", "PEER", "DETAIL"}, rows)
}
