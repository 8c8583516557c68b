package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/klinghook/klinghook/cmd/internal/cli"
	"github.com/klinghook/klinghook/config"
	"github.com/klinghook/klinghook/internal/store"
	"github.com/klinghook/klinghook/tasks"
)

func rejectionsCommand() *cobra.Command {
	return group("rejections", "Inspect refused deliveries", rejectionsListCommand())
}

func rejectionsListCommand() *cobra.Command {
	var filter store.RejectionFilter
	var list listFlags
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List a sample of the refused deliveries, newest first",
		Long: `list prints a sample of the deliveries that ingest refused: it keeps a few per second,
and the newest 1,000 of those. The metric klinghook_deliveries_total counts them all.

--json prints a list of objects with id, received_at, source (the protocol of the
endpoint, or "unknown"), reason (invalid_signature, malformed, too_large, encoded,
cut_short, busy, unknown_token, throttled, off, wrong_path), detail, peer, headers (only
the length of credentials and signatures) and body (at most its first 4 KiB; if it is
not UTF-8, body_base64 instead).`,
		Example: `  klinghook rejections list --reason invalid_signature
  klinghook rejections list --json | jq -r '.[0].headers'`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			filter.Limit = int(list.limit)
			return withStore(cmd, func(ctx context.Context, _ *config.Config, db *store.Store) error {
				rejections, err := db.Rejections(ctx, filter)
				if err != nil {
					return err
				}
				return rejectionTable.print(cmd.OutOrStdout(), each(rejections, newRejectionJSON), list.asJSON)
			})
		},
	}
	cmd.Flags().StringVar(&filter.Reason, "reason", "", "only deliveries refused for this `reason`")
	list.add(cmd)
	cli.AddFlags(cmd, config.Store)
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

func newRejectionJSON(rejection tasks.Rejection) rejectionJSON {
	shown := rejectionJSON{ID: rejection.ID, ReceivedAt: rejection.ReceivedAt, Source: rejection.Source, Reason: rejection.Reason, Detail: rejection.Detail, Peer: rejection.Peer, Headers: rejection.Headers}
	shown.Body, shown.BodyBase64 = textOrBytes(rejection.Body)
	return shown
}

var rejectionTable = table[rejectionJSON]{
	"no rejections",
	[]string{"RECEIVED", "SOURCE", "REASON", "PEER", "DETAIL"},
	func(rejection rejectionJSON) []string {
		return []string{clock(rejection.ReceivedAt), rejection.Source, rejection.Reason, rejection.Peer, cut(rejection.Detail, 60)}
	},
}
