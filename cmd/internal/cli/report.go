package cli

import (
	"context"
	"crypto/rand"
	"os"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"

	"github.com/klinghook/klinghook/tasks"
)

const (
	// reportEvery is how often a process reports about itself in Redis.
	reportEvery = 5 * time.Second
	// reportTimeout limits one report.
	reportTimeout = 2 * time.Second
)

// ReportIngest reports about this ingest process in Redis until ctx ends. While Redis is
// unavailable, it remembers the peak use of the spool.
func ReportIngest(ctx context.Context, rdb redis.UniversalClient, log *zap.Logger, version string, refused func() []tasks.Refusal, spoolPercent func() int) {
	host, _ := os.Hostname() // only shown to people
	peak := 0
	keepReporting(ctx, log, func(ctx context.Context, name string) error {
		peak = max(peak, spoolPercent())
		report := tasks.IngestReport{Host: host, PID: os.Getpid(), Version: version, SpoolPercent: peak, Refused: refused()}
		if err := tasks.ReportIngest(ctx, rdb, name, report); err != nil {
			return err
		}
		peak = 0
		return nil
	})
}

// ReportWorker reports about this worker process in Redis until ctx ends.
func ReportWorker(ctx context.Context, rdb redis.UniversalClient, log *zap.Logger, version string) {
	host, _ := os.Hostname() // as asynq does
	keepReporting(ctx, log, func(ctx context.Context, name string) error {
		return tasks.ReportWorker(ctx, rdb, name, tasks.WorkerReport{Host: host, PID: os.Getpid(), Version: version})
	})
}

// keepReporting reports under a unique name until ctx ends.
func keepReporting(ctx context.Context, log *zap.Logger, report func(ctx context.Context, name string) error) {
	name := rand.Text()
	tick := time.NewTicker(reportEvery)
	defer tick.Stop()
	for {
		limited, cancel := context.WithTimeout(ctx, reportTimeout)
		err := report(limited, name)
		cancel()
		if err != nil {
			log.Debug("report not written", zap.Error(err))
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// NoteRepeats returns a function that notes repeated deliveries in Redis, for the pages.
func NoteRepeats(rdb redis.UniversalClient, log *zap.Logger) func(context.Context, string, time.Time) {
	return func(ctx context.Context, eventID string, at time.Time) {
		if err := tasks.NoteRepeat(ctx, rdb, eventID, at); err != nil {
			log.Debug("repeated delivery not noted", zap.String("event_id", eventID), zap.Error(err))
		}
	}
}

// NoteTests returns a function that notes test deliveries in Redis, for the pages.
func NoteTests(rdb redis.UniversalClient, log *zap.Logger) func(context.Context, tasks.TestDelivery) {
	return func(ctx context.Context, delivery tasks.TestDelivery) {
		if err := tasks.NoteTestDelivery(ctx, rdb, delivery); err != nil {
			log.Debug("test delivery not noted", zap.Error(err))
		}
	}
}
