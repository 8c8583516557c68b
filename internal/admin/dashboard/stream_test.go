package dashboard_test

import (
	"bufio"
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/klinghook/klinghook/internal/admin/dashboard"
	"github.com/klinghook/klinghook/internal/testenv"
	"github.com/klinghook/klinghook/tasks"
)

// listener reads a stream.
type listener struct {
	t      *testing.T
	lines  *bufio.Scanner
	cancel context.CancelFunc
	lastID string
}

// listen opens the stream after the event with an id.
func (s *apiServer) listen(lastID string) *listener {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), 20*time.Second)
	s.t.Cleanup(cancel)
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url+"/api/v1/stream", http.NoBody)
	testenv.NoError(s.t, err)
	r.Header.Set("Authorization", "Bearer "+viewerToken)
	r.Header.Set("Last-Event-ID", lastID)
	res, err := http.DefaultClient.Do(r)
	testenv.NoError(s.t, err)
	s.t.Cleanup(func() { _ = res.Body.Close() })
	if res.StatusCode != http.StatusOK || res.Header.Get("Content-Type") != "text/event-stream" {
		s.t.Fatalf("the stream answers %d %v", res.StatusCode, res.Header)
	}
	return &listener{t: s.t, lines: bufio.NewScanner(res.Body), cancel: cancel}
}

// await reads until an event matches.
func (l *listener) await(what string, match func(event string, job dashboard.ListedJob) bool) {
	l.t.Helper()
	event, data := "", ""
	for l.lines.Scan() {
		name, value, _ := strings.Cut(l.lines.Text(), ": ")
		switch name {
		case "id":
			l.lastID = value
		case "event":
			event = value
		case "data":
			data = value
		case "":
			var job dashboard.ListedJob
			if event != "" && json.Unmarshal([]byte(data), &job) == nil && match(event, job) {
				return
			}
			event, data = "", ""
		}
	}
	l.t.Fatalf("%s did not arrive: %v", what, l.lines.Err())
}

func TestStreamHasChangesOfJobs(t *testing.T) {
	t.Parallel()
	s := newAPIServer(t)
	s.record("old", tasks.StatusCreated)
	first, second := s.listen(""), s.listen("")
	is := func(id string, status tasks.Status) func(string, dashboard.ListedJob) bool {
		return func(event string, job dashboard.ListedJob) bool {
			return event == "job" && job.ID == id && job.Status == status
		}
	}
	for _, l := range []*listener{first, second} {
		l.await("the change before the stream began", is("old", tasks.StatusCreated))
	}
	s.record("vid_1", tasks.StatusProcessing)
	for _, l := range []*listener{first, second} {
		l.await("a new job", is("vid_1", tasks.StatusProcessing))
	}
	first.cancel()
	s.record("vid_1", tasks.StatusCompleted)
	s.keep("vid_1", "video/mp4", "0123456789")
	again := s.listen(first.lastID)
	for name, l := range map[string]*listener{"at once": second, "after a pause": again} {
		l.await("the stored video "+name, func(_ string, job dashboard.ListedJob) bool {
			if len(job.Media) > 0 && strings.Contains(job.Media[0].URL, "hunter2") {
				t.Errorf("the stream has a secret: %s", job.Media[0].URL)
			}
			return job.ID == "vid_1" && len(job.Media) == 1 && job.Media[0].State == "stored"
		})
	}
	s.bury("vid_1", "404")
	second.await("a dead letter", func(_ string, job dashboard.ListedJob) bool { return job.OpenDeadLetters == 1 })
	_, text := s.send("DELETE", "/api/v1/jobs/vid_1", "")
	second.await("the deletion "+text, func(event string, job dashboard.ListedJob) bool { return event == "deleted" && job.ID == "vid_1" })
	s.stop()
	for second.lines.Scan() {
	}
	if err := second.lines.Err(); err != nil {
		t.Errorf("the stream ends with %v at a shutdown", err)
	}
}

func TestStreamReportsTooManyMissedChanges(t *testing.T) {
	t.Parallel()
	s := newAPIServer(t)
	var ids []string
	for i := range 2100 {
		ids = append(ids, "vid_"+strconv.Itoa(i))
	}
	s.record(ids[0], tasks.StatusCreated, ids[1:]...)
	s.listen("nonsense").await("a reset", func(event string, _ dashboard.ListedJob) bool { return event == "reset" })
	s.listen("1000000").await("a reset", func(event string, _ dashboard.ListedJob) bool { return event == "reset" })
	s.listen("not an id").await("the latest job", func(event string, job dashboard.ListedJob) bool { return event == "job" && job.ID == "vid_2099" })
}
