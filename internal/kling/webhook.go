package kling

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/klinghook/klinghook/tasks"
)

// Webhook is a registration at Kling.
type Webhook struct {
	// ID is Kling's id of the registration; may be empty.
	ID string
	// Secret signs the deliveries. Kling tells it this once.
	Secret string
}

// RegisterWebhook asks Kling to post the events to the URL, by the seed
// protocol's POST /v1/webhooks. The URL must be absolute and https, or, where
// Kling's API is a fake on this machine, http to this machine; the events must be
// of tasks.KnownTypes. It needs an API key. It is not idempotent: after an error
// that is not an *APIError Kling may have made the registration all the same.
func (c *Client) RegisterWebhook(ctx context.Context, webhookURL string, events []string) (Webhook, error) {
	if err := c.checkWebhook(webhookURL, events); err != nil {
		return Webhook{}, fmt.Errorf("register webhook: %w", err)
	}
	got, err := c.do(ctx, call{method: http.MethodPost, path: "/v1/webhooks", apiKeyOnly: true, in: struct {
		URL    string   `json:"url"`
		Events []string `json:"events"`
		Active bool     `json:"active"`
	}{webhookURL, events, true}})
	if err != nil {
		var refused *APIError
		if errors.As(err, &refused) && refused.cause() == missing {
			return Webhook{}, fmt.Errorf("register webhook: %s has no webhook registration: try another host, "+
				"or name your URL as callback_url in each task: %w", c.base.Host, err)
		}
		return Webhook{}, fmt.Errorf("register webhook: %w", err)
	}
	registration := got.object()
	w := Webhook{ID: registration.scalar("id"), Secret: registration.scalar("secret")}
	if w.Secret == "" {
		return w, fmt.Errorf("register webhook: %s answered without a secret (id %q); look for both in Kling's console", c.base.Host, quote(w.ID))
	}
	return w, nil
}

// local reports whether Kling and the webhook both are this machine.
func (c *Client) local(webhook *url.URL) bool {
	return webhook.Scheme == "http" && isLoopback(webhook.Hostname()) && isLoopback(c.base.Hostname())
}

func (c *Client) checkWebhook(webhookURL string, events []string) error {
	u, err := url.Parse(webhookURL)
	switch {
	case err != nil, u.Hostname() == "", u.Scheme != "https" && !c.local(u):
		return errors.New("the URL must be one that Kling can reach from outside, such as https://example.com/webhooks/klingai; " +
			"on a laptop, a tunnel gives you one")
	case len(events) == 0:
		return fmt.Errorf("no events: name at least one of %s", strings.Join(tasks.KnownTypes(), ", "))
	}
	var unknown []string
	for _, event := range events {
		if !slices.Contains(tasks.KnownTypes(), event) {
			unknown = append(unknown, fmt.Sprintf("%q", event))
		}
	}
	if len(unknown) > 0 {
		return fmt.Errorf("unknown events %s: Kling has %s", strings.Join(unknown, ", "), strings.Join(tasks.KnownTypes(), ", "))
	}
	return nil
}
