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
	// reportEvery is how often an ingest reports about itself in Redis.
	reportEvery = 5 * time.Second
	// reportTimeout limits one report.
	reportTimeout = 2 * time.Second
)

// ReportIngest reports about this ingest process in Redis, until ctx ends. While Redis is
// away it keeps the largest use of the spool.
func ReportIngest(ctx context.Context, rdb redis.UniversalClient, log *zap.Logger, refused func() []tasks.Refusal, spoolPercent func() int) {
	name := rand.Text()
	host, _ := os.Hostname() // only for people
	tick := time.NewTicker(reportEvery)
	defer tick.Stop()
	for peak := 0; ; {
		peak = max(peak, spoolPercent())
		limited, cancel := context.WithTimeout(ctx, reportTimeout)
		err := tasks.ReportIngest(limited, rdb, name, tasks.IngestReport{Host: host, SpoolPercent: peak, Refused: refused()})
		cancel()
		if err != nil {
			log.Debug("report not written", zap.Error(err))
		} else {
			peak = 0
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}
