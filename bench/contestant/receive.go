package main

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"

	"github.com/hibiken/asynq"
	"github.com/labstack/echo/v4"
)

// path is where Kling's webhooks are posted.
const path = "/webhooks/klingai"

func newEcho(handler echo.HandlerFunc) *echo.Echo {
	e := echo.New()
	e.HideBanner, e.HidePort = true, true
	e.POST(path, handler)
	return e
}

// accepted is the answer that the protocol asks for.
func accepted(c echo.Context) error {
	return c.JSONBlob(http.StatusOK, []byte(`{"received": true}`))
}

// discard is the least that a receiver can do.
func discard(c echo.Context) error {
	if _, err := io.Copy(io.Discard, c.Request().Body); err != nil {
		return err
	}
	return accepted(c)
}

// servePlain checks the signature, reads the event's type and enqueues the body.
func servePlain(ctx context.Context, addr, redisAddr, secret string) (err error) {
	if secret == "" {
		return errors.New("set " + secretVariable)
	}
	client := asynq.NewClient(asynq.RedisClientOpt{Addr: redisAddr})
	defer func() { err = errors.Join(err, client.Close()) }()
	return serve(ctx, addr, newEcho(func(c echo.Context) error {
		body, err := io.ReadAll(c.Request().Body)
		if err != nil {
			return err
		}
		if !verified([]byte(secret), c.Request().Header.Get("X-Kling-Signature"), body) {
			return echo.ErrUnauthorized
		}
		var event struct {
			Event string `json:"event"`
		}
		if err := json.Unmarshal(body, &event); err != nil {
			return echo.ErrBadRequest
		}
		if _, err := client.EnqueueContext(c.Request().Context(), asynq.NewTask(event.Event, body)); err != nil {
			return err
		}
		return accepted(c)
	}))
}

func verified(key []byte, signature string, body []byte) bool {
	given, err := hex.DecodeString(strings.TrimPrefix(signature, "sha256="))
	if err != nil {
		return false
	}
	mac := hmac.New(sha256.New, key)
	mac.Write(body)
	return hmac.Equal(given, mac.Sum(nil))
}

// drain runs tasks that are nothing, until ctx ends.
func drain(ctx context.Context, redisAddr, queue string, concurrency int) error {
	server := asynq.NewServer(asynq.RedisClientOpt{Addr: redisAddr}, asynq.Config{
		Concurrency: concurrency, Queues: map[string]int{queue: 1}, LogLevel: asynq.WarnLevel,
	})
	if err := server.Start(asynq.HandlerFunc(func(context.Context, *asynq.Task) error { return nil })); err != nil {
		return err
	}
	<-ctx.Done()
	server.Shutdown()
	return nil
}
