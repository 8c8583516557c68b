package tasks_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"github.com/klinghook/klinghook/internal/testenv"
	"github.com/klinghook/klinghook/tasks"
)

func TestMain(m *testing.M) { testenv.Main(m) }

func TestEnqueue(t *testing.T) {
	onQueue(t, func(t *testing.T, q queue) {
		task, err := tasks.RecordEvent(goldenEvent())
		testenv.NoError(t, err)
		for i, want := range []bool{false, true, true} {
			duplicate, err := q.client.Enqueue(t.Context(), task)
			if err != nil || duplicate != want {
				t.Errorf("enqueue number %d: duplicate %t, %v; want %t", i+1, duplicate, err, want)
			}
		}
		info, err := q.inspector.GetTaskInfo(tasks.QueueEvents, task.ID)
		testenv.NoError(t, err)
		policy, err := tasks.PolicyOf(tasks.KindEventRecord)
		testenv.NoError(t, err)
		if info.Type != string(policy.Kind) || info.MaxRetry != policy.Attempts-1 || info.Timeout != policy.Timeout || info.Retention != policy.Retention {
			t.Errorf("task %+v does not follow its policy %+v", info, policy)
		}
		if string(info.Payload) != string(task.Payload) {
			t.Errorf("payload came out as %q", info.Payload)
		}
	})
}

func TestPolicies(t *testing.T) {
	for _, p := range tasks.Policies() {
		// A killed worker and a lost dequeue reply each cost an attempt.
		if p.Attempts < 4 {
			t.Errorf("%s has %d attempts, want at least 4", p.Kind, p.Attempts)
		}
		if p.Timeout <= 0 || p.Retention <= 0 || p.BackoffBase <= 0 || p.BackoffCap < p.BackoffBase || p.Queue == "" {
			t.Errorf("%s has an incomplete policy: %+v", p.Kind, p)
		}
		got, err := tasks.PolicyOf(p.Kind)
		if err != nil || got != p {
			t.Errorf("PolicyOf(%s) = %+v, %v", p.Kind, got, err)
		}
	}
}

func TestFailureClasses(t *testing.T) {
	cause := errors.New("cause")
	wrapped := fmt.Errorf("outer: %w", tasks.Permanent(tasks.RetryAfter(cause, time.Minute)))
	if !tasks.IsPermanent(wrapped) || tasks.RetryAfterOf(wrapped) != time.Minute || !errors.Is(wrapped, cause) {
		t.Errorf("%v: permanent %t, wait %v", wrapped, tasks.IsPermanent(wrapped), tasks.RetryAfterOf(wrapped))
	}
	if tasks.IsPermanent(cause) || tasks.RetryAfterOf(cause) != 0 {
		t.Error("a plain error is permanent or has a wait")
	}
	if tasks.Permanent(nil) != nil || tasks.RetryAfter(nil, 1) != nil {
		t.Error("a nil error became an error")
	}
}

func TestQueueIsRegisteredAgainAfterRedisLosesItsData(t *testing.T) {
	server := miniredis.RunT(t)
	rdb := redis.NewClient(&redis.Options{Addr: server.Addr(), MaxRetries: -1})
	defer func() { _ = rdb.Close() }()
	client := tasks.NewClient(rdb)
	task, err := tasks.SendNotification("ntf_1", tasks.JobKey{})
	testenv.NoError(t, err)
	for _, refused := range []string{"", "LOADING", ""} {
		server.SetError(refused)
		if _, err := client.Enqueue(t.Context(), task); (err != nil) != (refused != "") {
			t.Fatalf("enqueue while Redis says %q: %v", refused, err)
		}
		if refused != "" {
			server.FlushAll()
		}
	}
	queues, err := asynq.NewInspectorFromRedisClient(rdb).Queues()
	if err != nil || len(queues) != 1 {
		t.Errorf("queues are %q, %v; want one", queues, err)
	}
}

func TestParseRetryAfter(t *testing.T) {
	now := time.Date(2025, 1, 15, 10, 30, 0, 0, time.UTC)
	tests := []struct {
		name, header string
		want         time.Duration
	}{
		{"none", "", 0},
		{"seconds", "120", 2 * time.Minute},
		{"too many seconds", "18446744073709551615", time.Hour},
		{"negative", "-5", 0},
		{"date", "Wed, 15 Jan 2025 10:31:30 GMT", 90 * time.Second},
		{"past date", "Wed, 15 Jan 2025 10:29:00 GMT", 0},
		{"far date", "Wed, 15 Jan 2031 10:29:00 GMT", time.Hour},
		{"nonsense", "soon", 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := tasks.ParseRetryAfter(tt.header, now); got != tt.want {
				t.Errorf("ParseRetryAfter(%q) = %s, want %s", tt.header, got, tt.want)
			}
		})
	}
}
