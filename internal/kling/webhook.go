package kling

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/klinghook/klinghook/internal/source"
	"github.com/klinghook/klinghook/tasks"
)

// Webhook is a registration at Kling.
type Webhook struct {
	// ID is Kling's id of the registration; may be empty.
	ID string
	// Secret signs the deliveries. Kling shows it only once.
	Secret string
}

// RegisterWebhook asks Kling to post the events to the URL, with the seed protocol's
// POST /v1/webhooks. The URL must be https, or http on this machine if Kling's API
// is on this machine too. The events must be in tasks.KnownTypes. It needs an API
// key. After an error that is not an *APIError, Kling may still have registered the
// webhook.
func (c *API) RegisterWebhook(ctx context.Context, webhookURL string, events []string) (Webhook, error) {
	webhook, err := c.register(ctx, webhookURL, events)
	if err != nil {
		return webhook, fmt.Errorf("register webhook: %w", err)
	}
	return webhook, nil
}

func (c *API) register(ctx context.Context, webhookURL string, events []string) (Webhook, error) {
	if err := c.checkWebhook(webhookURL, events); err != nil {
		return Webhook{}, err
	}
	data, err := c.do(ctx, call{method: http.MethodPost, path: "/v1/webhooks", apiKeyOnly: true, in: struct {
		URL    string   `json:"url"`
		Events []string `json:"events"`
		Active bool     `json:"active"`
	}{webhookURL, events, true}})
	var refused *APIError
	if errors.As(err, &refused) && refused.cause() == missing {
		return Webhook{}, fmt.Errorf("%s has no webhook registration: try another host, "+
			"or name your URL as callback_url in each task: %w", c.base.Host, err)
	}
	if err != nil {
		return Webhook{}, err
	}
	var registration source.Object
	if list := source.Elements(data); len(list) > 0 {
		registration = source.ParseObject(list[0])
	}
	webhook := Webhook{ID: registration.Scalar("id"), Secret: registration.Scalar("secret")}
	if webhook.Secret == "" {
		return webhook, fmt.Errorf("%s answered without a secret (id %q); look for both in Kling's console", c.base.Host, quote(webhook.ID))
	}
	return webhook, nil
}

func (c *API) checkWebhook(webhookURL string, events []string) error {
	u, err := url.Parse(webhookURL)
	local := err == nil && u.Scheme == "http" && isLoopback(u.Hostname()) && isLoopback(c.base.Hostname())
	switch {
	case err != nil, u.Hostname() == "", u.Scheme != "https" && !local:
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
