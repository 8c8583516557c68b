package dashboard_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"github.com/alicebob/miniredis/v2"
	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"github.com/klinghook/klinghook/internal/admin/dashboard"
	"github.com/klinghook/klinghook/internal/testenv"
	"github.com/klinghook/klinghook/tasks"
)

func TestMain(m *testing.M) { testenv.Main(m) }

// queue is a queue with one event and the pages that show it.
type queue struct {
	redis  redis.UniversalClient
	pages  http.Handler
	taskID string
}

func newQueue(t *testing.T) queue {
	t.Helper()
	return newQueueOn(t, redis.NewClient(&redis.Options{Addr: miniredis.RunT(t).Addr()}))
}

func newQueueOn(t *testing.T, rdb redis.UniversalClient) queue {
	t.Helper()
	q := queue{redis: rdb, pages: dashboard.NewQueues(dashboard.Config{Redis: rdb}, false)}
	t.Cleanup(func() {
		if err := rdb.Close(); err != nil {
			t.Error(err)
		}
	})
	task, err := tasks.RecordEvent(tasks.Event{
		ID: "klingai:evt_1", Source: "klingai", Type: "video.completed", Job: tasks.KlingJob("vid_1"),
		Headers: map[string]string{"X-Kling-Signature": "sha256=5ecre7"},
		Body:    []byte(`{"event":"video.completed","data":{"job_id":"vid_1","video_url":"https:\/\/cdn.example\/v.mp4?sig=5ecre7\u0026e=1"},"signature":"sha256=5ecre7"}`),
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tasks.NewClient(q.redis).Enqueue(t.Context(), task); err != nil {
		t.Fatal(err)
	}
	q.taskID = task.ID
	return q
}

// ask sends a request with the headers, given as name, value, name, value.
func (q queue) ask(t *testing.T, method, target, body string, header ...string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), method, target, strings.NewReader(body))
	r.Host = "localhost:5001"
	for i := 0; i < len(header); i += 2 {
		if header[i] == "Host" {
			r.Host = header[i+1]
			continue
		}
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	q.pages.ServeHTTP(w, r)
	return w
}

func TestOnlySameOriginRequestsChangeTasks(t *testing.T) {
	q := newQueue(t)
	inspector := asynq.NewInspectorFromRedisClient(q.redis)
	archive := "/queues/api/queues/events/pending_tasks/" + q.taskID + ":archive"
	for _, step := range []struct {
		header []string
		status int
		state  asynq.TaskState
	}{
		{[]string{"Sec-Fetch-Site", "cross-site"}, 403, asynq.TaskStatePending},
		{[]string{"Host", "evil.example"}, 403, asynq.TaskStatePending},
		{[]string{"Sec-Fetch-Site", "same-origin"}, 204, asynq.TaskStateArchived},
	} {
		w := q.ask(t, "POST", archive, "", step.header...)
		info, err := inspector.GetTaskInfo(tasks.QueueEvents, q.taskID)
		if err != nil {
			t.Fatal(err)
		}
		if w.Code != step.status || info.State != step.state {
			t.Errorf("with %v: status %d and the task is %s, want %d and %s", step.header, w.Code, info.State, step.status, step.state)
		}
	}
}

func TestReadOnlyPagesCannotChangeAnything(t *testing.T) {
	q := newQueue(t)
	q.pages = dashboard.NewQueues(dashboard.Config{Redis: q.redis}, true)
	if w := q.ask(t, "DELETE", "/queues/api/queues/events/pending_tasks/"+q.taskID, ""); w.Code != http.StatusMethodNotAllowed {
		t.Errorf("status %d", w.Code)
	}
}

func TestPagesLoadNothingFromOtherHosts(t *testing.T) {
	q := newQueue(t)
	for _, target := range []string{"/queues", "/queues/", "/queues/queues/events/tasks/" + q.taskID} {
		w := q.ask(t, "GET", target, "", "Accept", "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8")
		page := w.Body.String()
		if w.Code != http.StatusOK || !strings.HasPrefix(w.Header().Get("Content-Type"), "text/html") ||
			!strings.Contains(page, `src="/queues/static/js/`) || !strings.Contains(page, `<meta name="viewport"`) {
			t.Errorf("GET %s answers %d, %s, %.1000q", target, w.Code, w.Header().Get("Content-Type"), page)
		}
		if foreign := regexp.MustCompile(`(?:src|href)="(?:https?:)?//[^"]*"`).FindAllString(page, -1); len(foreign) > 0 {
			t.Errorf("GET %s loads %q", target, foreign)
		}
	}
	for _, target := range []string{"/queues", "/queues/queues/events", "/queues/static/js/runtime-main.9fea6c1a.js", "/queues/api/queues"} {
		policy := q.ask(t, "GET", target, "").Header().Get("Content-Security-Policy")
		for _, directive := range []string{"default-src 'none'", "script-src 'self' 'sha256-", "connect-src 'self'", "frame-ancestors 'none'", "base-uri 'none'"} {
			if !strings.Contains(policy, directive) {
				t.Errorf("GET %s: the policy %q lacks %q", target, policy, directive)
			}
		}
		for _, lax := range []string{"unsafe-eval", "*", "http:", "https:", "script-src 'self' 'unsafe-inline'"} {
			if strings.Contains(policy, lax) {
				t.Errorf("GET %s: the policy %q has %q", target, policy, lax)
			}
		}
	}
}

func TestTasksAreShownWithoutSecrets(t *testing.T) {
	q := newQueue(t)
	for _, target := range []string{"/queues/api/queues/events/pending_tasks", "/queues/api/queues/events/tasks/" + q.taskID} {
		w := q.ask(t, "GET", target, "")
		if !json.Valid(w.Body.Bytes()) || !strings.Contains(w.Body.String(), `https://cdn.example/v.mp4?…`) {
			t.Errorf("GET %s does not show the link: %s", target, w.Body)
		}
		if strings.Contains(w.Body.String(), "5ecre7") {
			t.Errorf("GET %s shows a signature: %s", target, w.Body)
		}
	}
}

func TestPagesUseOurRedisClient(t *testing.T) {
	t.Parallel()
	user := testenv.Redis(t, testenv.WithUser("operator", "pw")).Addr()
	nodes := testenv.RedisCluster(t, 3)
	for name, rdb := range map[string]redis.UniversalClient{
		"ACL user": redis.NewClient(&redis.Options{Addr: user, Username: "operator", Password: "pw"}),
		"cluster":  redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{nodes[0].Addr()}}),
	} {
		q := newQueueOn(t, rdb)
		for target, want := range map[string]string{
			"/queues/api/queues":                      `"queue":"events"`,
			"/queues/api/queues/events/pending_tasks": `"id":"` + q.taskID + `"`,
			"/queues/api/redis_info":                  map[string]string{"ACL user": "redis_version", "cluster": "cluster_state:ok"}[name],
		} {
			if w := q.ask(t, "GET", target, ""); w.Code != http.StatusOK || !strings.Contains(w.Body.String(), want) {
				t.Errorf("%s: %s answers %d %s, want %s", name, target, w.Code, w.Body, want)
			}
		}
	}
}

func TestPagesReportRedisErrors(t *testing.T) {
	rdb := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1", MaxRetries: -1, DialerRetries: 1})
	q := queue{pages: dashboard.NewQueues(dashboard.Config{Redis: rdb}, false)}
	if w := q.ask(t, "GET", "/queues", "", "Accept", "text/html"); w.Code != http.StatusOK {
		t.Errorf("the page answers %d", w.Code)
	}
	for _, target := range []string{"/queues/api/queues", "/queues/api/redis_info"} {
		if w := q.ask(t, "GET", target, ""); w.Code != http.StatusInternalServerError {
			t.Errorf("%s answers %d %s", target, w.Code, w.Body)
		}
	}
	if err := rdb.Close(); err != nil {
		t.Error(err)
	}
}
