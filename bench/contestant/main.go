// Command contestant is what klinghook-ingest is measured against, with the same settings
// in the environment, and a proxy that delays the connections to Redis:
//
//	contestant echo                        verifies the signature, answers 200
//	contestant plain                       also parses the event and enqueues it with asynq
//	contestant delay <listen> <to> <time>  delays each direction of a connection
package main

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"log"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/hibiken/asynq"
	"github.com/labstack/echo/v4"
)

func main() {
	log.Fatal(run(os.Args[1:], os.Getenv("KLINGHOOK_ADDR"), os.Getenv("KLINGHOOK_REDIS_URL"), []byte(os.Getenv("KLINGAI_WEBHOOK_SECRET"))))
}

// run returns only errors: a signal ends the program.
func run(args []string, addr, redisURL string, secret []byte) error {
	switch {
	case len(args) == 1 && args[0] == "echo":
		return newEcho(secret, func(context.Context, []byte) error { return nil }).Start(addr)
	case len(args) == 1 && args[0] == "plain":
		opt, err := asynq.ParseRedisURI(redisURL)
		if err != nil {
			return err
		}
		return newEcho(secret, enqueue(asynq.NewClient(opt))).Start(addr)
	case len(args) == 4 && args[0] == "delay":
		each, err := time.ParseDuration(args[3])
		if err != nil {
			return err
		}
		return delay(args[1], args[2], each)
	}
	return errors.New("usage: contestant echo | plain | delay <listen> <to> <time>")
}

// newEcho returns a receiver that passes the verified bodies to take and answers 200.
func newEcho(secret []byte, take func(context.Context, []byte) error) *echo.Echo {
	e := echo.New()
	e.HideBanner, e.HidePort = true, true
	e.POST("/webhooks/klingai", func(c echo.Context) error {
		body, err := io.ReadAll(c.Request().Body)
		if err != nil {
			return err
		}
		if !verified(secret, c.Request().Header.Get("X-Kling-Signature"), body) {
			return echo.ErrUnauthorized
		}
		if err := take(c.Request().Context(), body); err != nil {
			return err
		}
		return c.JSONBlob(http.StatusOK, []byte(`{"received": true}`))
	})
	return e
}

// enqueue parses the event and enqueues it.
func enqueue(client *asynq.Client) func(context.Context, []byte) error {
	return func(ctx context.Context, body []byte) error {
		var event struct {
			Event string `json:"event"`
		}
		if err := json.Unmarshal(body, &event); err != nil {
			return echo.ErrBadRequest
		}
		_, err := client.EnqueueContext(ctx, asynq.NewTask(event.Event, body))
		return err
	}
}

func verified(secret []byte, signature string, body []byte) bool {
	given, err := hex.DecodeString(strings.TrimPrefix(signature, "sha256="))
	if err != nil {
		return false
	}
	mac := hmac.New(sha256.New, secret)
	mac.Write(body)
	return hmac.Equal(given, mac.Sum(nil))
}
