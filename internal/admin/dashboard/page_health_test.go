package dashboard_test

import (
	"context"
	"io"
	"net/http"
	"os"
	"testing"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"

	"github.com/klinghook/klinghook/internal/admin/dashboard"
	"github.com/klinghook/klinghook/internal/doctor"
	"github.com/klinghook/klinghook/internal/store"
	"github.com/klinghook/klinghook/internal/testenv"
	"github.com/klinghook/klinghook/tasks"
)

func TestHealthListsProblems(t *testing.T) {
	cfg := newConfig(t)
	server := asynq.NewServerFromRedisClient(cfg.Redis, asynq.Config{Queues: map[string]int{tasks.QueueEvents: 1}, LogLevel: asynq.FatalLevel})
	testenv.NoError(t, server.Start(asynq.HandlerFunc(func(context.Context, *asynq.Task) error { return nil })))
	defer server.Shutdown()
	host, err := os.Hostname()
	testenv.NoError(t, err)
	testenv.NoError(t, tasks.ReportWorker(t.Context(), cfg.Redis, "w", tasks.WorkerReport{Host: host, PID: os.Getpid(), Version: "v1"}))
	testenv.NoError(t, tasks.ReportIngest(t.Context(), cfg.Redis, "i", tasks.IngestReport{
		Host: "ingest-1", PID: 7, Version: "v2", SpoolPercent: 60, Refused: []tasks.Refusal{{Source: "klingai", Reason: "invalid_signature", Count: 1200}},
	}))
	now := time.Now()
	_, err = cfg.Store.Track(t.Context(), tasks.KlingJob("vid_1"), tasks.Metadata{}, now.Add(-time.Hour))
	testenv.NoError(t, err)
	testenv.NoError(t, cfg.Store.ConfigureDestinations(t.Context(), []string{"crm", "shop", "unused"}, now))
	_, err = cfg.Store.RecordAttempts(t.Context(), []store.SendAttempt{
		{NotificationID: "n1", Destination: "crm", At: now.Add(-2 * time.Hour), Error: "HTTP 500 from https://crm.example/?key=s3cret"},
		{NotificationID: "n2", Destination: "shop", At: now, Duration: 1250 * time.Millisecond, Status: 204},
	})
	testenv.NoError(t, err)
	buryMany(t, cfg.Store, 2, 0)
	w := get(t, dashboard.New(cfg), "/health")
	has(t, w.Body.String(),
		"2 tasks failed for good.", "No worker runs media, notify, rejections.", "Several versions run: v1, v1.2.3, v2.", "serves this page", "The spool of ingest-1 is 60% full.", "ingest-1 refused 1,200 deliveries (webhook, wrong signature)",
		"Every message to crm has failed for 2 h", "HTTP 500 from https://crm.example/?…", "Delivered (HTTP 204)", "took 1.2 s", "Not used yet",
		"1 job waits for a look-up, and no worker has asked Kling", "queues events", "The queues have not been read yet", "Run the checks")
	if w.Code != http.StatusOK {
		t.Errorf("the answer is %d", w.Code)
	}
}

func TestHealthShowsQueuesOfTheLastHour(t *testing.T) {
	cfg := newConfig(t)
	client, inspector := asynq.NewClientFromRedisClient(cfg.Redis), asynq.NewInspectorFromRedisClient(cfg.Redis)
	for _, id := range []string{"1", "2", "3"} {
		_, err := client.Enqueue(asynq.NewTask("media:download", nil), asynq.Queue(tasks.QueueMedia), asynq.TaskID(id))
		testenv.NoError(t, err)
	}
	testenv.NoError(t, inspector.PauseQueue(tasks.QueueMedia))
	cfg.Backlog = dashboard.NewBacklog(t.Context(), dashboard.BacklogConfig{Redis: cfg.Redis, Log: zap.NewNop()})
	defer cfg.Backlog.Close()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		if list, err := cfg.Backlog.History(t.Context()); err != nil || len(list) > 0 && len(list[0].Samples) > 0 {
			testenv.NoError(t, err)
			break
		}
		<-tick.C
	}
	has(t, get(t, dashboard.New(cfg), "/health").Body.String(),
		`href="/queues/queues/media">Downloads`, "3 waiting", "The queue media is paused", `aria-label="Downloads: tasks waiting in the last hour, at most 3"`, "Measured since")
}

func TestHealthWithoutRedisShowsTheRest(t *testing.T) {
	cfg := newConfig(t)
	rdb := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1", MaxRetries: -1, DialerRetries: 1})
	defer rdb.Close()
	cfg.Redis = rdb
	testenv.NoError(t, cfg.Store.ConfigureDestinations(t.Context(), []string{"shop"}, time.Now()))
	has(t, get(t, dashboard.New(cfg), "/health").Body.String(), "Could not read the processes (Redis).", "shop")
}

func TestOnlyOperatorsRunChecks(t *testing.T) {
	w := newWorld(t)
	runs := 0
	w.cfg.Checks = func(context.Context) []doctor.Check {
		return []doctor.Check{{Name: "bucket", Run: func(context.Context) []doctor.Finding {
			runs++
			return []doctor.Finding{{Check: "bucket", Status: doctor.Failed, Found: "it is full", Fix: "make room"}}
		}}}
	}
	site := w.serve(true)
	ask := func(method, token, path string) string {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), method, site+path, http.NoBody)
		testenv.NoError(t, err)
		r.Header.Set("Authorization", "Bearer "+token)
		answer, err := http.DefaultClient.Do(r)
		testenv.NoError(t, err)
		defer answer.Body.Close()
		page, err := io.ReadAll(answer.Body)
		testenv.NoError(t, err)
		return string(page)
	}
	has(t, ask("GET", viewerToken, "/health"), "have not run", "An operator can run them.")
	has(t, ask("GET", operatorToken, "/health?checks=1"), "Run the checks")
	has(t, ask("POST", viewerToken, "/health/checks"), "viewers cannot change anything")
	if runs != 0 {
		t.Errorf("the checks ran %d times without being asked for by an operator", runs)
	}
	has(t, ask("POST", operatorToken, "/health/checks"), "status-failed", "it is full", "make room", "Run them again")
	has(t, ask("GET", viewerToken, "/health"), "it is full", "An operator can run them.")
	if runs != 1 {
		t.Errorf("the checks ran %d times, want once", runs)
	}
}
