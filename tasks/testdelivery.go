package tasks

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
)

// TestDelivery is an accepted test delivery of klinghook doctor.
type TestDelivery struct {
	// Source is the protocol that it used.
	Source string    `json:"source"`
	At     time.Time `json:"at"`
}

// testDeliveryKey is the Redis key of the last test delivery, which is kept for 30 days.
const (
	testDeliveryKey  = "klinghook:test-delivery"
	testDeliveryKept = 30 * 24 * time.Hour
)

// NoteTestDelivery remembers a test delivery in Redis, for the page that says how to start.
func NoteTestDelivery(ctx context.Context, rdb redis.UniversalClient, delivery TestDelivery) error {
	text, err := json.Marshal(delivery)
	if err == nil {
		err = rdb.Set(ctx, testDeliveryKey, text, testDeliveryKept).Err()
	}
	if err != nil {
		return fmt.Errorf("note test delivery: %w", err)
	}
	return nil
}

// LastTestDelivery returns the last test delivery within 30 days, or nil.
func LastTestDelivery(ctx context.Context, rdb redis.UniversalClient) (*TestDelivery, error) {
	text, err := rdb.Get(ctx, testDeliveryKey).Bytes()
	if errors.Is(err, redis.Nil) {
		return nil, nil
	}
	var delivery TestDelivery
	if err == nil {
		err = json.Unmarshal(text, &delivery)
	}
	if err != nil {
		return nil, fmt.Errorf("read test delivery: %w", err)
	}
	return &delivery, nil
}
