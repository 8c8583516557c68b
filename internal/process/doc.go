// Package process sets up what all klinghook processes need: logger, Redis client, HTTP
// listeners, health and signals. It knows nothing of webhooks, and reads neither the
// environment nor the arguments: cmd does.
package process
