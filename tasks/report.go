package tasks

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
)

// Processes write reports about themselves to Redis, for alerts and for people. Redis
// expires the reports, so clocks need not agree.
const (
	workReport = "klinghook:report:work"
	// A report is at "<key>:<name>", and the set of names at "<key>s".
	ingestReport = "klinghook:report:ingest"
	workerReport = "klinghook:report:worker"

	workReportLife    = 5 * time.Minute
	processReportLife = time.Minute
)

// WorkReport is what the last sweep found.
type WorkReport struct {
	// DeadLetters counts the open dead letters; NewestDeadLetter is the newest one's id.
	DeadLetters      int   `json:"dead_letters"`
	NewestDeadLetter int64 `json:"newest_dead_letter"`
	// Expiring counts the files that are not stored and whose links expire soon.
	Expiring int `json:"expiring"`
	// Paused lists the names of paused destinations.
	Paused []string `json:"paused,omitempty"`
}

// IngestReport is the state of an ingest process.
type IngestReport struct {
	Host    string `json:"host"`
	PID     int    `json:"pid"`
	Version string `json:"version"`
	// SpoolPercent is the largest use of the spool since the last report.
	SpoolPercent int       `json:"spool_percent"`
	Refused      []Refusal `json:"refused,omitempty"`
}

// WorkerReport is what asynq does not report about a worker process.
type WorkerReport struct {
	// Host and PID are those of its asynq servers.
	Host    string `json:"host"`
	PID     int    `json:"pid"`
	Version string `json:"version"`
}

// Refusal is a series of deliveries that an ingest process refused.
type Refusal struct {
	Source string `json:"source"`
	// Reason is the outcome as the metrics name it.
	Reason string `json:"reason"`
	Count  int    `json:"count"`
	// Lasted is the time from the first to the last.
	Lasted time.Duration `json:"lasted_ns"`
}

// ReportWork replaces the work report.
func ReportWork(ctx context.Context, rdb redis.UniversalClient, report WorkReport) error {
	return set(ctx, rdb, workReport, report, workReportLife)
}

// ReadWork returns the work report; found is false if no sweep reported lately.
func ReadWork(ctx context.Context, rdb redis.UniversalClient) (report WorkReport, found bool, err error) {
	found, err = get(ctx, rdb, workReport, &report)
	return report, found, err
}

// ReportIngest replaces the report of an ingest process. Its name must be unique.
func ReportIngest(ctx context.Context, rdb redis.UniversalClient, name string, report IngestReport) error {
	return reportProcess(ctx, rdb, ingestReport, name, report)
}

// ReadIngests returns the reports of all running ingest processes.
func ReadIngests(ctx context.Context, rdb redis.UniversalClient) ([]IngestReport, error) {
	return readProcesses[IngestReport](ctx, rdb, ingestReport)
}

// ReportWorker replaces the report of a worker process. Its name must be unique.
func ReportWorker(ctx context.Context, rdb redis.UniversalClient, name string, report WorkerReport) error {
	return reportProcess(ctx, rdb, workerReport, name, report)
}

// ReadWorkers returns the reports of all running worker processes.
func ReadWorkers(ctx context.Context, rdb redis.UniversalClient) ([]WorkerReport, error) {
	return readProcesses[WorkerReport](ctx, rdb, workerReport)
}

func reportProcess(ctx context.Context, rdb redis.UniversalClient, key, name string, report any) error {
	if err := rdb.SAdd(ctx, key+"s", name).Err(); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	return set(ctx, rdb, key+":"+name, report, processReportLife)
}

func readProcesses[T any](ctx context.Context, rdb redis.UniversalClient, key string) (reports []T, err error) {
	names, err := rdb.SMembers(ctx, key+"s").Result()
	if err != nil {
		return nil, fmt.Errorf("list reports: %w", err)
	}
	for _, name := range names {
		var report T
		found, err := get(ctx, rdb, key+":"+name, &report)
		switch {
		case err != nil:
			return nil, err
		case found:
			reports = append(reports, report)
		default:
			// If the process still runs, its next report adds it again.
			if err := rdb.SRem(ctx, key+"s", name).Err(); err != nil {
				return nil, fmt.Errorf("remove report: %w", err)
			}
		}
	}
	return reports, nil
}

func set(ctx context.Context, rdb redis.UniversalClient, key string, value any, life time.Duration) error {
	text, err := json.Marshal(value)
	if err == nil {
		err = rdb.Set(ctx, key, text, life).Err()
	}
	if err != nil {
		return fmt.Errorf("report: %w", err)
	}
	return nil
}

// get reads a report; found is false if there is none.
func get(ctx context.Context, rdb redis.UniversalClient, key string, value any) (found bool, err error) {
	text, err := rdb.Get(ctx, key).Bytes()
	if errors.Is(err, redis.Nil) {
		return false, nil
	}
	if err == nil {
		err = json.Unmarshal(text, value)
	}
	if err != nil {
		return false, fmt.Errorf("read report: %w", err)
	}
	return true, nil
}
