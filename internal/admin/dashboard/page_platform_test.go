package dashboard_test

import (
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/klinghook/klinghook/internal/admin/dashboard"
	"github.com/klinghook/klinghook/internal/store"
	"github.com/klinghook/klinghook/internal/testenv"
	"github.com/klinghook/klinghook/tasks"
)

func TestPagesLinkToJobsOfOtherPlatforms(t *testing.T) {
	w := newWorld(t)
	job := tasks.JobKey{Platform: "fal", ID: "a/b"}
	w.hear(job.ID, tasks.TypeCreated, tasks.JobUpdate{Status: tasks.StatusCreated, Prompt: "A job of Kling"})
	update := tasks.JobUpdate{Job: job, EventID: "fal:1", Status: tasks.StatusFailed, Prompt: "A job of fal", OccurredAt: time.Now()}
	event := tasks.Event{ID: "fal:1", Source: "fal", Type: tasks.TypeFailed, Job: job, ReceivedAt: time.Now(), Body: []byte("{}")}
	_, err := w.store.Record(t.Context(), []store.Recording{{Event: event, Update: &update}}, time.Now())
	testenv.NoError(t, err)
	task, err := tasks.DownloadMedia(job, "video", "https://cdn.example/gone.mp4")
	testenv.NoError(t, err)
	testenv.NoError(t, w.store.Bury(t.Context(), store.DeadLetter{Task: task, Job: job, Error: "gone", FailedAt: time.Now()}))
	pages := dashboard.New(w.cfg)
	link := regexp.MustCompile(`(?:href|action)="([^"]*a%2Fb[^"]*)"`)
	for _, path := range []string{"/", "/?view=table", "/failures", "/failures?job=a%2Fb&platform=fal", "/jobs/a%2Fb?platform=fal"} {
		body := get(t, pages, path).Body.String()
		found := 0
		for _, match := range link.FindAllStringSubmatch(body, -1) {
			if strings.Contains(match[1], "platform=fal") {
				found++
			} else if path != "/" && path != "/?view=table" { // which list both jobs
				t.Errorf("%s links to %s", path, match[1])
			}
		}
		if found == 0 {
			t.Errorf("%s has no link to the job of fal", path)
		}
	}
	has(t, get(t, pages, "/jobs/a%2Fb?platform=fal").Body.String(), "A job of fal", `action="/jobs/a%2Fb/replay?platform=fal"`)
	has(t, get(t, pages, "/jobs/a%2Fb").Body.String(), "A job of Kling")
	if got := get(t, pages, "/failures?job=a%2Fb"); strings.Contains(got.Body.String(), "gone") {
		t.Error("the failures of a job of Kling have one of fal")
	}
	if answer := request(t, pages, http.MethodPost, "/jobs/a%2Fb/replay?platform=fal"); answer.Code != http.StatusSeeOther || answer.Header().Get("Location") != "/jobs/a%2Fb?platform=fal&done=replay&n=1" {
		t.Errorf("replaying answers %d to %s", answer.Code, answer.Header().Get("Location"))
	}
}
