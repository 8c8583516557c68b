package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/klinghook/klinghook/cmd/internal/cli"
	"github.com/klinghook/klinghook/config"
	"github.com/klinghook/klinghook/kling"
	"github.com/klinghook/klinghook/tasks"
)

func webhooksCommand() *cobra.Command {
	return group("webhooks", "Tell Kling where to send webhooks", webhooksRegisterCommand())
}

func webhooksRegisterCommand() *cobra.Command {
	var url string
	var events []string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "register --url <https-url>",
		Short: "Register a webhook with Kling and show its secret, once",
		Long: `register asks Kling's API (POST /v1/webhooks) to send events to a URL, with the
key in KLINGAI_API_KEY. It shows the webhook's secret once: nothing keeps it, so
put it into KLINGAI_WEBHOOK_SECRET, or into the file that KLINGAI_WEBHOOK_SECRET_FILE
names. During a rotation both the old and the new one go there, with a comma
between them.`,
		Example: `  klinghook webhooks register --url https://hooks.example.com/webhooks/klingai`,
		Args:    args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if url == "" {
				return cli.Usagef("--url is missing; it is where Kling reaches this klinghook, such as https://hooks.example.com/webhooks/klingai")
			}
			return runRegister(cmd, url, events, asJSON)
		},
	}
	cmd.Flags().StringVar(&url, "url", "", "the public https URL that Kling is to post to")
	cmd.Flags().StringSliceVar(&events, "events", tasks.KnownTypes(), "the event types to send")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cli.AddFlags(cmd.Flags(), config.Client)
	return cmd
}

func runRegister(cmd *cobra.Command, url string, events []string, asJSON bool) error {
	cfg, err := load(config.Client, cmd)
	if err != nil {
		return err
	}
	if cfg.APIKey == "" {
		return cli.Usagef("KLINGAI_API_KEY is not set; make a key in Kling's console and set it, or name its file in KLINGAI_API_KEY_FILE")
	}
	client, err := kling.New(kling.Config{BaseURL: cfg.APIURL, APIKey: cfg.APIKey})
	if err != nil {
		return err
	}
	for i := range events {
		events[i] = eventType(strings.TrimSpace(events[i]))
	}
	webhook, err := client.RegisterWebhook(cmd.Context(), url, events)
	if err != nil {
		return err
	}
	if asJSON {
		return printJSON(cmd.OutOrStdout(), map[string]string{"id": webhook.ID, "secret": webhook.Secret})
	}
	return printWebhook(cmd.OutOrStdout(), webhook, url)
}

func printWebhook(w io.Writer, webhook kling.Webhook, url string) error {
	_, err := fmt.Fprintf(w, `Webhook registered: %s
Posts to: %s
Secret:   %s

The secret is not shown again. Give it to ingest:

  export KLINGAI_WEBHOOK_SECRET='%s'
`, webhook.ID, url, webhook.Secret, strings.ReplaceAll(webhook.Secret, "'", `'\''`))
	return err
}
