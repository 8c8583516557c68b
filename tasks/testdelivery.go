package tasks

import (
	"context"
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
	return set(ctx, rdb, testDeliveryKey, delivery, testDeliveryKept)
}

// LastTestDelivery returns the last test delivery within 30 days, or nil.
func LastTestDelivery(ctx context.Context, rdb redis.UniversalClient) (*TestDelivery, error) {
	var delivery TestDelivery
	found, err := get(ctx, rdb, testDeliveryKey, &delivery)
	if err != nil || !found {
		return nil, err
	}
	return &delivery, nil
}
