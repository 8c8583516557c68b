package kling

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
)

// fake is Kling's API as documented, for any key.
type fake struct {
	*httptest.Server
	// jobs are JSON objects by kind and id, so that a test can change their shape.
	jobs map[string]string
	// refuse, if set, may answer a request first. If it returns false, the fake answers.
	refuse func(w http.ResponseWriter, r *http.Request) bool

	mu       sync.Mutex
	requests []string // guarded by mu; "GET /tasks?task_ids=1"
}

func newFake(t *testing.T) *fake {
	t.Helper()
	f := &fake{jobs: map[string]string{}}
	f.Server = httptest.NewServer(f)
	t.Cleanup(f.Close)
	return f
}

func (f *fake) add(kind JobKind, id, object string) { f.jobs[string(kind)+"/"+id] = object }

// asked returns the requests since the last call.
func (f *fake) asked() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	requests := f.requests
	f.requests = nil
	return requests
}

func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	f.requests = append(f.requests, r.Method+" "+r.RequestURI)
	f.mu.Unlock()
	if f.refuse != nil && f.refuse(w, r) {
		return
	}
	if r.URL.Path != "/tasks" {
		if object, ok := f.jobs[strings.TrimPrefix(strings.TrimPrefix(r.URL.Path, "/v1/videos/"), "/v1/")]; ok {
			envelope(w, http.StatusOK, 0, "SUCCEED", object)
			return
		}
		envelope(w, http.StatusNotFound, 1203, "task not found", "null")
		return
	}
	ids := strings.Split(r.URL.Query().Get("task_ids"), ",")
	if len(ids) > BatchSize {
		envelope(w, http.StatusBadRequest, 1201, "too many ids", "null")
		return
	}
	var found []string
	for _, id := range ids {
		if object, ok := f.jobs[string(KindTasks)+"/"+id]; ok {
			found = append(found, object)
		}
	}
	envelope(w, http.StatusOK, 0, "SUCCEED", "["+strings.Join(found, ",")+"]")
}

func envelope(w http.ResponseWriter, status, code int, message, data string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	fmt.Fprintf(w, `{"code":%d,"message":%q,"request_id":"r1","data":%s}`, code, message, data)
}

// newObject is a job of the new API, as documented.
func newObject(id, status string) string {
	return fmt.Sprintf(`{"id":%q,"status":%q,"message":"","create_time":1781080778802,"update_time":1781080794151,"external_id":"mine-%s",`+
		`"outputs":[{"type":"video","id":"v1","url":"https://cdn.example/%s.mp4?sig=1","watermark_url":"https://cdn.example/w.mp4","duration":"5.1"}],`+
		`"billing":[{"charge_type":"unit","amount":"1.5","package_type":"video"}]}`, id, status, id, id)
}

// legacyObject is a job of the legacy API, as documented.
func legacyObject(id, status string) string {
	return fmt.Sprintf(`{"task_id":%q,"task_status":%q,"task_status_msg":"","created_at":1722769557708,"updated_at":1722769557999,`+
		`"final_unit_deduction":"1.5","task_info":{"external_task_id":"mine-%s"},`+
		`"task_result":{"videos":[{"id":"v1","url":"https://cdn.example/%s.mp4?sig=1","duration":"5.1"}]}}`, id, status, id, id)
}
