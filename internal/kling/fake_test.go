package kling

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

const (
	testAccessKey = "hunter3-access"
	testSecretKey = "hunter4-secret"
)

// fake is Kling's API as documented. Its jobs are JSON objects, so that a test can
// change their shape.
type fake struct {
	*httptest.Server
	t *testing.T
	// jobs are the objects of each kind.
	jobs map[Kind][]string
	// refuse, if set, may answer a request first; false leaves it to the fake.
	refuse func(w http.ResponseWriter, r *http.Request) bool

	mu       sync.Mutex
	requests []string // guarded by mu; "GET /tasks?task_ids=1"
}

func newFake(t *testing.T) *fake {
	t.Helper()
	f := &fake{t: t, jobs: make(map[Kind][]string)}
	f.Server = httptest.NewServer(f)
	t.Cleanup(f.Close)
	return f
}

// asked returns the requests since it was last called.
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
	isNew := r.URL.Path == "/tasks"
	if !f.authorized(r, isNew) {
		envelope(w, http.StatusUnauthorized, 1002, "Authorization is invalid", "null")
		return
	}
	if f.refuse != nil && f.refuse(w, r) {
		return
	}
	switch {
	case isNew && r.Method == http.MethodGet:
		f.lookUp(w, r)
	case strings.HasPrefix(r.URL.Path, "/v1/videos/") && r.Method == http.MethodGet:
		f.legacy(w, r)
	default:
		envelope(w, http.StatusNotFound, 1202, "the method is invalid", "null")
	}
}

// authorized accepts an API key everywhere and a token in the legacy API.
func (f *fake) authorized(r *http.Request, isNew bool) bool {
	token := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
	if token == testKey {
		return true
	}
	claims := readJWT(token)
	from, _ := claims["nbf"].(float64)
	until, _ := claims["exp"].(float64)
	now := float64(time.Now().Unix())
	return claims["iss"] == testAccessKey && from <= now && now < until && !isNew
}

// readJWT returns the claims of a token that testSecretKey signed, else nil.
func readJWT(token string) (claims map[string]any) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return nil
	}
	content, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil || token != signJWT(content, testSecretKey) || json.Unmarshal(content, &claims) != nil {
		return nil
	}
	return claims
}

func envelope(w http.ResponseWriter, status, code int, message, data string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	fmt.Fprintf(w, `{"code":%d,"message":%q,"request_id":"r1","data":%s}`, code, message, data)
}

func (f *fake) lookUp(w http.ResponseWriter, r *http.Request) {
	ids := strings.Split(r.URL.Query().Get("task_ids"), ",")
	if len(ids) > BatchSize {
		envelope(w, http.StatusBadRequest, 1201, "too many ids", "null")
		return
	}
	var found []string
	for _, object := range f.jobs[KindTasks] {
		if job, _ := readJob(KindTasks, json.RawMessage(object)); slices.Contains(ids, job.ID) {
			found = append(found, object)
		}
	}
	envelope(w, http.StatusOK, 0, "SUCCEED", "["+strings.Join(found, ",")+"]")
}

func (f *fake) legacy(w http.ResponseWriter, r *http.Request) {
	path := strings.TrimPrefix(r.URL.Path, "/v1/videos/")
	for kind, objects := range f.jobs {
		id, ok := strings.CutPrefix(path, string(kind)+"/")
		for _, object := range objects {
			job, _ := readJob(kind, json.RawMessage(object))
			if ok && (job.ID == id || job.ExternalID == id) {
				envelope(w, http.StatusOK, 0, "SUCCEED", object)
				return
			}
		}
	}
	envelope(w, http.StatusNotFound, 1203, "task not found", "null")
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
