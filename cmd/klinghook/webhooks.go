package main

import (
	"fmt"
	"net"
	"net/url"
	"strings"

	"github.com/spf13/cobra"

	"github.com/klinghook/klinghook/cmd/internal/cli"
	"github.com/klinghook/klinghook/config"
	"github.com/klinghook/klinghook/internal/admin"
	"github.com/klinghook/klinghook/internal/kling"
	"github.com/klinghook/klinghook/internal/simulate"
	"github.com/klinghook/klinghook/tasks"
)

func webhooksCommand() *cobra.Command {
	return group("webhooks", "Tell Kling where to send webhooks", webhooksRegisterCommand())
}

func webhooksRegisterCommand() *cobra.Command {
	var to string
	var events []string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "register --url <https-url>",
		Short: "Register a webhook with Kling and show its secret once",
		Long: `register asks Kling's API (POST /v1/webhooks) to send events to a URL, with the key
in KLINGAI_API_KEY. It shows the webhook's secret once and does not store it: put it
into KLINGAI_WEBHOOK_SECRET, or into the file named by KLINGAI_WEBHOOK_SECRET_FILE.
During a rotation, put both the old and the new one there, separated by a comma.

--json prints an object with id and secret.`,
		Example: `  klinghook webhooks register --url https://hooks.example.com/webhooks/klingai
  klinghook webhooks register --url https://x.example.com/webhooks/klingai --events completed,failed`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return runRegister(cmd, to, events, asJSON)
		},
	}
	cmd.Flags().StringVar(&to, "url", "", "the public https `URL` for Kling; its path is /webhooks/klingai, unless a proxy changes it")
	cmd.Flags().StringSliceVar(&events, "events", tasks.KnownTypes(), "the event `types` to send, separated by commas")
	jsonFlag(cmd, &asJSON)
	cli.AddFlags(cmd, config.Client, "KLINGAI_API_KEY", "KLINGAI_API_URL")
	return cmd
}

func runRegister(cmd *cobra.Command, to string, events []string, asJSON bool) error {
	u, err := url.Parse(to)
	// kling.API decides whether http is allowed.
	if err != nil || u.Hostname() == "" || u.User != nil || u.Scheme != "https" && (u.Scheme != "http" || !admin.IsLoopback(net.JoinHostPort(u.Hostname(), ""))) {
		return cli.Usagef("--url must be the public https URL at which Kling reaches this klinghook, such as https://hooks.example.com/webhooks/klingai; on a laptop, use a tunnel")
	}
	if path := protocolNamed(simulate.Seed).Path; !strings.HasSuffix(strings.TrimSuffix(u.Path, "/"), path) {
		fmt.Fprintf(cmd.ErrOrStderr(), "Warning: klinghook-ingest receives these webhooks at %s. Unless a proxy changes the path, use %s\n",
			path, (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: path}).String())
	}
	for i := range events {
		events[i] = cli.EventType(strings.TrimSpace(events[i]))
		if err := oneOf("events", events[i], tasks.KnownTypes()); err != nil {
			return err
		}
	}
	cfg, err := load(config.Client, cmd)
	if err != nil {
		return err
	}
	if cfg.APIKey == "" {
		return cli.Usagef("KLINGAI_API_KEY is not set; create a key in Kling's console and set it, or name its file in KLINGAI_API_KEY_FILE")
	}
	client, err := kling.New(kling.Config{BaseURL: cfg.APIURL, APIKey: cfg.APIKey})
	if err != nil {
		return cli.Usagef("KLINGAI_API_URL, KLINGAI_API_KEY: %w", err)
	}
	webhook, err := client.RegisterWebhook(cmd.Context(), to, events)
	if err != nil {
		return err
	}
	if asJSON {
		return printJSON(cmd.OutOrStdout(), map[string]string{"id": webhook.ID, "secret": webhook.Secret})
	}
	_, err = fmt.Fprintf(cmd.OutOrStdout(), `Webhook registered: %s
Posts to: %s
Secret:   %s

The secret is not shown again. Give it to ingest:

  export KLINGAI_WEBHOOK_SECRET='%s'
`, oneLine(webhook.ID), to, webhook.Secret, strings.ReplaceAll(webhook.Secret, "'", `'\''`))
	return err
}
