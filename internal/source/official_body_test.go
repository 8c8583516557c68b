package source_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/klinghook/klinghook/internal/source"
	"github.com/klinghook/klinghook/internal/testenv"
	"github.com/klinghook/klinghook/tasks"
)

func TestOfficialIdentifiesEvents(t *testing.T) {
	identity := func(eventType string) source.Identity {
		return source.Identity{SenderID: klingID, Type: eventType, JobID: "1"}
	}
	tests := []struct {
		name string
		body string
		want source.Identity
	}{
		{"Kling's vector", klingBody, source.Identity{SenderID: klingID, Type: "video.completed", JobID: "1234567890"}},
		{"byte order mark", "\ufeff" + `{"id":"1","status":"failed"}`, identity("video.failed")},
		{"new submitted", `{"id":"1","status":"submitted","outputs":[]}`, identity("video.created")},
		{"new processing", `{"id":"1","status":"processing"}`, identity("video.processing")},
		{"new succeeded", `{"id":"1","status":"succeeded"}`, identity("video.completed")},
		{"new succeed", `{"id":"1","status":"succeed"}`, identity("video.completed")},
		{"new failed", `{"id":"1","status":"failed"}`, identity("video.failed")},
		{"new canceled", `{"id":"1","status":"canceled"}`, identity("video.cancelled")},
		{"legacy submitted", `{"task_id":"1","task_status":"submitted"}`, identity("video.created")},
		{"legacy processing", `{"task_id":"1","task_status":"processing"}`, identity("video.processing")},
		{"legacy succeed", `{"task_id":"1","task_status":"succeed"}`, identity("video.completed")},
		{"legacy succeeded", `{"task_id":"1","task_status":"succeeded"}`, identity("video.completed")},
		{"legacy failed", `{"task_id":"1","task_status":"failed"}`, identity("video.failed")},
		{"legacy cancelled", `{"task_id":"1","task_status":"cancelled"}`, identity("video.cancelled")},
		{"unknown status", `{"id":"1","status":"queued"}`, identity("video.queued")},
		{"status in other case", `{"id":"1","status":"Failed"}`, identity("video.failed")},
		{"another word for success", `{"task_id":"1","task_status":" SUCCESS "}`, identity("video.completed")},
		{"status as a type", `{"id":"1","status":"video.canceled"}`, identity("video.cancelled")},
		{"unknown status in other case", `{"id":"1","status":"Queued"}`, identity("video.Queued")},
		{"both ids", `{"id":"1","task_id":1,"task_status":"failed"}`, identity("video.failed")},
		{"status of the other body", `{"id":"1","task_status":"failed"}`, identity("video.failed")},
		{"legacy, status of the other body", `{"task_id":"1","task_status":null,"status":"failed"}`, identity("video.failed")},
		{"look-up envelope", `{"code":0,"message":"SUCCEED","request_id":"r","data":{"task_id":"1","task_status":"succeed"}}`, identity("video.completed")},
		{"look-up envelope with a list", "\ufeff" + `{"code":0,"data":[{"id":"1","status":"succeeded"}]}`, identity("video.completed")},
		{"look-up envelope with a page", `{"code":0,"data":{"result":[{"id":"1","status":"succeeded"}]}}`, identity("video.completed")},
		{"the seed's status", `{"id":"1","status":"completed"}`, identity("video.completed")},
		{"number for id", `{"id":1,"status":"failed"}`, identity("video.failed")},
		{"null beside id", `{"id":"1","task_id":null,"status":"failed"}`, identity("video.failed")},
		{"the most outputs", `{"id":"1","status":"succeeded","outputs":[{}` + strings.Repeat(`,{}`, 99) + `]}`, identity("video.completed")},
		{"outputs of a task in progress", `{"id":"1","status":"processing","outputs":[{}` + strings.Repeat(`,{}`, 100) + `]}`, identity("video.processing")},
		{"keys in other case", `{"id":"1","ID":"2","Task_Id":"3","status":"failed","STATUS":"x"}`, identity("video.failed")},
	}
	src := newSource(t, "klingai-official")
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := src.Identify(klingHeaders(), []byte(tt.body))
			if got != tt.want || err != nil {
				t.Errorf("Identify = %+v, %v, want %+v", got, err, tt.want)
			}
			wantSameJob(t, src, got, []byte(tt.body))
		})
	}
}

func TestOfficialRefusesBodies(t *testing.T) {
	tests := []struct {
		name string
		body string
		want string
	}{
		{"not JSON", `id=1`, `body is not JSON: invalid character 'i' looking for beginning of value`},
		{"array", `[]`, `body is an array, not an object`},
		{"neither id", `{"status":"failed"}`, `body has neither "id" nor "task_id": want one of them`},
		{"two ids", `{"id":"1","task_id":"2","status":"failed"}`, `body has different values for "id" and "task_id"`},
		{"an unusable id", `{"id":"1","task_id":{},"status":"failed"}`, `"task_id" is an object, not a string`},
		{"look-up envelope without a task", `{"code":0,"data":null}`, `body has neither "id" nor "task_id": want one of them`},
		{"look-up envelope with a text", `{"code":0,"data":"1"}`, `body has neither "id" nor "task_id": want one of them`},
		{"look-up envelope with a list of texts", `{"code":0,"data":["1"]}`, `body has neither "id" nor "task_id": want one of them`},
		{"look-up envelope with two tasks", `{"code":0,"data":[{"id":"1","status":"failed"},{"id":"2","status":"failed"}]}`, `body has 2 tasks: want one`},
		{"empty id", `{"id":"","status":"failed"}`, `"id" is empty`},
		{"id no string", `{"id":{},"status":"failed"}`, `"id" is an object, not a string`},
		{"long task_id", `{"task_id":"` + strings.Repeat("1", 257) + `","task_status":"failed"}`, `"task_id" is longer than 256 bytes`},
		{"id with NUL", `{"id":"1\u0000","status":"failed"}`, `"id" has a control character`},
		{"no status", `{"id":"1"}`, `"status" is missing`},
		{"legacy, no status", `{"task_id":"1"}`, `"task_status" is missing`},
		{"status number", `{"id":"1","status":99}`, `"status" is a number, not a string`},
		{"status empty", `{"id":"1","status":""}`, `"status" is empty`},
		{"too many outputs", `{"id":"1","status":"succeeded","outputs":[{}` + strings.Repeat(`,{"url":"https://x/1.mp4"}`, 100) + `]}`, `body has 101 outputs: 100 at most`},
		{"too many legacy videos", `{"task_id":"1","task_status":"succeed","task_result":{"videos":[{}` + strings.Repeat(`,{}`, 100) + `]}}`, `body has 101 outputs: 100 at most`},
		{"status long", `{"id":"1","status":"` + strings.Repeat("s", 123) + `"}`, `"status" is longer than 122 bytes`},
	}
	src := newSource(t, "klingai-official")
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			wantUnreadable(t, src, []byte(tt.body), tt.want)
		})
	}
}

func TestOfficialRefusesWebhookIDs(t *testing.T) {
	src := newSource(t, "klingai-official")
	for id, want := range map[string]string{
		strings.Repeat("1", 257): `"Webhook-Id" is longer than 256 bytes`,
		"\xff":                   `"Webhook-Id" is not UTF-8`,
		"a\tb":                   `"Webhook-Id" has a control character`,
		"a.b":                    `"Webhook-Id" has a dot`,
	} {
		_, err := src.Identify(http.Header{"Webhook-Id": {id}}, []byte(klingBody))
		if err == nil || err.Error() != want || errors.Is(err, source.ErrUnknownShape) {
			t.Errorf("Identify = %v, want error %q", err, want)
		}
	}
}

func TestOfficialUpdatesJobs(t *testing.T) {
	created, updated := date(t, "2026-06-10T08:39:38.802Z"), date(t, "2026-06-10T08:39:54.151Z")
	completed := func(missing string, media ...tasks.MediaLink) *tasks.JobUpdate {
		return &tasks.JobUpdate{Job: tasks.KlingJob("1"), EventID: "e", Status: tasks.StatusCompleted, Media: media, Missing: missing}
	}
	tests := []struct {
		name string
		body string
		want *tasks.JobUpdate
	}{
		{
			"Kling's vector", klingBody,
			&tasks.JobUpdate{Job: tasks.KlingJob("1234567890"), EventID: "e", OccurredAt: updated, Status: tasks.StatusCompleted, CreatedAt: created, FinishedAt: updated, Missing: `"outputs" is missing`},
		},
		{
			"new, with outputs",
			`{"id":"1","status":"succeeded","message":"ok","create_time":1781080778802,"update_time":"1781080794151","external_id":"mine\u0000","billing":[{}],"outputs":[
				{"type":"image","id":"o0","url":"https://x/0.png"},
				{"type":"video","id":"o1","url":"https://x/1.mp4","watermark_url":"https://x/w.mp4","duration":"5.1"},
				{"id":"o2","url":"https://x/2.mp4","duration":"10"},
				{"type":"audio","url":"https://x/a.mp3"},
				{"type":"video","url":"https://x/3.mp4"}]}`,
			&tasks.JobUpdate{
				Job: tasks.KlingJob("1"), EventID: "e", OccurredAt: updated, Status: tasks.StatusCompleted, ExternalID: "mine",
				Duration: 5100 * time.Millisecond, CreatedAt: created, FinishedAt: updated,
				Media: []tasks.MediaLink{
					{Name: "image", URL: "https://x/0.png"},
					{Name: "video", URL: "https://x/1.mp4"},
					{Name: "video-watermark", URL: "https://x/w.mp4"},
					{Name: "video-2", URL: "https://x/2.mp4"},
					{Name: "audio", URL: "https://x/a.mp3"},
					{Name: "video-3", URL: "https://x/3.mp4"},
				},
			},
		},
		{
			"legacy, with videos",
			`{"task_id":"1","task_status":"succeed","task_status_msg":"ok","created_at":1781080778802,"updated_at":1781080794151,"final_unit_deduction":"3",
				"task_info":{"parent_video":{"id":"p","url":"https://x/p.mp4","duration":"5"},"external_task_id":"mine"},
				"task_result":{"images":[{"index":0,"url":"https://x/0.png"}],"videos":[{"id":"v1","url":"https://x/1.mp4","duration":"5"},{"id":"v2","url":"https://x/2.mp4","duration":"10"}]}}`,
			&tasks.JobUpdate{
				Job: tasks.KlingJob("1"), EventID: "e", OccurredAt: updated, Status: tasks.StatusCompleted, ExternalID: "mine",
				Duration: 5 * time.Second, CreatedAt: created, FinishedAt: updated, Costs: []tasks.Cost{{Amount: "3", Unit: "unit", Kind: "unit"}},
				Media: []tasks.MediaLink{{Name: "video", URL: "https://x/1.mp4"}, {Name: "video-2", URL: "https://x/2.mp4"}, {Name: "image", URL: "https://x/0.png"}},
			},
		},
		{
			"new failed", `{"id":"1","status":"failed","message":"risk control","update_time":1781080794151}`,
			&tasks.JobUpdate{Job: tasks.KlingJob("1"), EventID: "e", OccurredAt: updated, Status: tasks.StatusFailed, Error: "risk control", FinishedAt: updated},
		},
		{
			"legacy failed", `{"task_id":"1","task_status":"failed","task_status_msg":"risk control","updated_at":1781080794151}`,
			&tasks.JobUpdate{Job: tasks.KlingJob("1"), EventID: "e", OccurredAt: updated, Status: tasks.StatusFailed, Error: "risk control", FinishedAt: updated},
		},
		{
			"processing", `{"id":"1","status":"processing","message":"wait","update_time":1781080794151,"outputs":[{"url":"https://x/1.mp4","duration":"5"}]}`,
			&tasks.JobUpdate{Job: tasks.KlingJob("1"), EventID: "e", OccurredAt: updated, Status: tasks.StatusProcessing},
		},
		{
			"cancelled", `{"task_id":"1","task_status":"cancelled","updated_at":1781080794151}`,
			&tasks.JobUpdate{Job: tasks.KlingJob("1"), EventID: "e", OccurredAt: updated, Status: tasks.StatusCancelled, FinishedAt: updated},
		},
		{"test callback", `{"id":"1","status":"submitted","outputs":[]}`, &tasks.JobUpdate{Job: tasks.KlingJob("1"), EventID: "e", Status: tasks.StatusCreated, MaybeTest: true}},
		{"submitted", `{"id":"1","status":"submitted","outputs":null}`, &tasks.JobUpdate{Job: tasks.KlingJob("1"), EventID: "e", Status: tasks.StatusCreated}},
		{"unknown status", `{"id":"1","status":"queued"}`, nil},
		{"outputs as an object", `{"id":"1","status":"succeeded","outputs":{"type":"video","url":"https://x/1.mp4"}}`, completed("", tasks.MediaLink{Name: "video", URL: "https://x/1.mp4"})},
		{"videos as an object", `{"task_id":"1","task_status":"succeed","task_result":{"videos":{"url":"https://x/1.mp4"}}}`, completed("", tasks.MediaLink{Name: "video", URL: "https://x/1.mp4"})},
		{"first video without a link", `{"id":"1","status":"succeeded","outputs":[{"type":"video","url":""},{"type":"video","url":"https://x/2.mp4"}]}`, completed("output 1 (video) has no link", tasks.MediaLink{Name: "video-2", URL: "https://x/2.mp4"})},
		{
			"fields of wrong types",
			`{"id":"1","status":"succeeded","message":[],"create_time":{},"update_time":"soon","external_id":7,"outputs":[null,"https://x/1.mp4",[],{"url":7,"duration":[]}]}`,
			completed("output 1 is not an object"),
		},
		{"outputs a string", `{"id":"1","status":"succeeded","outputs":"https://x/1.mp4"}`, completed(`"outputs" is a string`)},
		{"result an array", `{"task_id":"1","task_status":"succeed","task_info":[],"task_result":[]}`, completed(`"task_result" is empty`)},
	}
	src := newSource(t, "klingai-official")
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := src.Update(tasks.Event{ID: "e", Body: []byte(tt.body)})
			testenv.NoError(t, err)
			if tt.want != nil {
				// The id's key shows which API has the job.
				tt.want.API = tasks.APITasks
				if strings.Contains(tt.body, `"task_id"`) {
					tt.want.API = tasks.APILegacy
				}
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("Update (-want +got):\n%s", diff)
			}
		})
	}
}
