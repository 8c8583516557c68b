// Package process is what every klinghook process does the same way: its logger,
// its Redis client, its HTTP listeners, its health, its signals. It knows nothing
// of webhooks, and reads neither the environment nor the arguments: cmd does.
package process
