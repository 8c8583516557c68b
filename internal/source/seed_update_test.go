package source_test

import (
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/klinghook/klinghook/internal/testenv"
	"github.com/klinghook/klinghook/tasks"
)

func date(t *testing.T, rfc3339 string) time.Time {
	t.Helper()
	at, err := time.Parse(time.RFC3339, rfc3339)
	testenv.NoError(t, err)
	return at.UTC()
}

func TestSeedUpdate(t *testing.T) {
	at := date(t, "2025-01-15T10:30:00Z")
	progress := func(p int) *int { return &p }
	tests := []struct {
		name string
		body string
		want *tasks.JobUpdate
	}{
		{
			"completed as described", seedCompleted,
			&tasks.JobUpdate{
				Job: tasks.KlingJob("vid_abc123"), EventID: "e", OccurredAt: at, Status: tasks.StatusCompleted,
				Prompt: "Original prompt...", Model: "kling-v1.5", Duration: 5 * time.Second,
				CreatedAt: at.Add(-5 * time.Minute), FinishedAt: at,
				Media: []tasks.MediaLink{
					{Name: "video", URL: "https://cdn.example.com/v.mp4?sig=1"},
					{Name: "thumbnail", URL: "https://cdn.example.com/t.jpg"},
				},
			},
		},
		{
			"completed, nothing else", `{"event":"video.completed","data":{"job_id":"vid_1"}}`,
			&tasks.JobUpdate{Job: tasks.KlingJob("vid_1"), EventID: "e", Status: tasks.StatusCompleted, Missing: `"data.video_url" is missing`},
		},
		{
			"completed, without a link", `{"event":"video.succeeded","data":{"job_id":"vid_1","video_url":" ","thumbnail_url":"https://x/t.png"}}`,
			&tasks.JobUpdate{
				Job: tasks.KlingJob("vid_1"), EventID: "e", Status: tasks.StatusCompleted, Missing: `"data.video_url" is empty`,
				Media: []tasks.MediaLink{{Name: "thumbnail", URL: "https://x/t.png"}},
			},
		},
		{
			"completed, finished when it occurred", `{"event":"video.completed","timestamp":"2025-01-15T10:30:00Z","data":{"job_id":"vid_1","failed_at":1}}`,
			&tasks.JobUpdate{Job: tasks.KlingJob("vid_1"), EventID: "e", OccurredAt: at, Status: tasks.StatusCompleted, FinishedAt: at, Missing: `"data.video_url" is missing`},
		},
		{
			"created, status contradicting", `{"event":"video.created","data":{"job_id":"vid_1","status":"completed","video_url":"https://x/v.mp4","completed_at":"2025-01-15T10:30:00Z","error":"x"}}`,
			&tasks.JobUpdate{Job: tasks.KlingJob("vid_1"), EventID: "e", Status: tasks.StatusCreated},
		},
		{
			"processing", `{"event":"video.processing","timestamp":"2025-01-15T11:30:00+01:00","data":{"job_id":"vid_1","progress":45}}`,
			&tasks.JobUpdate{Job: tasks.KlingJob("vid_1"), EventID: "e", OccurredAt: at, Status: tasks.StatusProcessing, Progress: progress(45)},
		},
		{
			"failed", `{"event":"video.failed","timestamp":"2025-01-15T11:00:00Z","data":{"job_id":"vid_1","error":"content\u0000 policy","failed_at":"2025-01-15T10:30:00Z","video_url":"https://x/v.mp4"}}`,
			&tasks.JobUpdate{Job: tasks.KlingJob("vid_1"), EventID: "e", OccurredAt: at.Add(30 * time.Minute), Status: tasks.StatusFailed, Error: "content policy", FinishedAt: at},
		},
		{
			"failed, completed_at", `{"event":"video.failed","timestamp":"2025-01-15T11:00:00Z","data":{"job_id":"vid_1","completed_at":"2025-01-15T10:30:00Z"}}`,
			&tasks.JobUpdate{Job: tasks.KlingJob("vid_1"), EventID: "e", OccurredAt: at.Add(30 * time.Minute), Status: tasks.StatusFailed, FinishedAt: at},
		},
		{
			"cancelled", `{"event":"video.cancelled","timestamp":"2025-01-15T11:00:00Z","data":{"job_id":"vid_1","cancelled_at":"2025-01-15T10:30:00Z","error":"by the user"}}`,
			&tasks.JobUpdate{Job: tasks.KlingJob("vid_1"), EventID: "e", OccurredAt: at.Add(30 * time.Minute), Status: tasks.StatusCancelled, Error: "by the user", FinishedAt: at},
		},
		{"unknown", `{"event":"video.upscaled","data":{"job_id":"vid_1"}}`, nil},
		{
			"fields of wrong types",
			`{"event":"video.completed","timestamp":{},"data":{"job_id":"vid_1","progress":[1],"prompt":1,"model":{},"duration":true,"created_at":[],"completed_at":{},"video_url":1,"thumbnail_url":{"url":"https://x"},"error":1}}`,
			&tasks.JobUpdate{Job: tasks.KlingJob("vid_1"), EventID: "e", Status: tasks.StatusCompleted, Missing: `"data.video_url" is a number, not a string`},
		},
		{
			"nulls and empties",
			`{"event":"video.completed","timestamp":null,"data":{"job_id":"vid_1","progress":null,"prompt":"","model":null,"duration":null,"created_at":"","completed_at":null,"video_url":"","thumbnail_url":null}}`,
			&tasks.JobUpdate{Job: tasks.KlingJob("vid_1"), EventID: "e", Status: tasks.StatusCompleted, Missing: `"data.video_url" is empty`},
		},
		{
			"text is stored whole", `{"event":"video.created","data":{"job_id":"vid_1","prompt":"  \ud83d\udc31\t\"a\"\n<b>\u0000\u001b ","model":"` + "\xff" + `"}}`,
			&tasks.JobUpdate{Job: tasks.KlingJob("vid_1"), EventID: "e", Status: tasks.StatusCreated, Prompt: "  🐱\t\"a\"\n<b>\x1b ", Model: "\ufffd"},
		},
	}
	src := newSource(t, "klingai")
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := src.Update(tasks.Event{ID: "e", Body: []byte(tt.body)})
			testenv.NoError(t, err)
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("Update (-want +got):\n%s", diff)
			}
		})
	}
}

// TestSeedFieldsAreReadLeniently checks the shapes that a field of data may have.
func TestSeedFieldsAreReadLeniently(t *testing.T) {
	tests := []struct {
		event, field string
		// read returns the update's field as text.
		read func(*tasks.JobUpdate) string
		want map[string]string // by the JSON value
	}{
		{"video.created", "created_at", func(u *tasks.JobUpdate) string { return formatTime(u.CreatedAt) }, map[string]string{
			`"2025-01-15T10:30:00Z"`: "2025-01-15T10:30:00Z", `" 2025-01-15T10:30:00Z "`: "2025-01-15T10:30:00Z",
			`"2025-01-15T10:30:00.25+02:00"`: "2025-01-15T08:30:00.25Z", `1736937000`: "2025-01-15T10:30:00Z",
			`1736937000.5`: "2025-01-15T10:30:00.5Z", `1736937000250`: "2025-01-15T10:30:00.25Z", `1.736937e9`: "2025-01-15T10:30:00Z",
			`"1736937000250"`: "2025-01-15T10:30:00.25Z", `"1970-01-01T00:00:00Z"`: "1970-01-01T00:00:00Z",
			`"9999-12-31T23:59:59Z"`: "9999-12-31T23:59:59Z", `253402300799999`: "9999-12-31T23:59:59.999Z",
			`1736937000250000`: "2025-01-15T10:30:00.25Z", `"1736937000250000001"`: "2025-01-15T10:30:00.250000001Z",
			`"2025-01-15T10:30:00"`: "2025-01-15T10:30:00Z", `"2025-01-15 10:30:00.25"`: "2025-01-15T10:30:00.25Z",
			`"2025-01-15 11:30:00+0100"`: "2025-01-15T10:30:00Z", `"2025-01-15T10:30:00+0000"`: "2025-01-15T10:30:00Z",
			`"2025-01-15 10:30:00 +0000 UTC"`: "2025-01-15T10:30:00Z", `"2025-01-15 10:30:00 utc"`: "2025-01-15T10:30:00Z",
			`"2025-01-15t10:30:00z"`: "2025-01-15T10:30:00Z", `"2025-01-15T10:30:00+00"`: "2025-01-15T10:30:00Z",
			`"Wed, 15 Jan 2025 10:30:00 GMT"`: "2025-01-15T10:30:00Z", `"Wed, 15 Jan 2025 11:30:00 +0100"`: "2025-01-15T10:30:00Z",
			`"Wed, 15 Jan 2025 10:30:00 PST"`: "", `1e20`: "",
			`253402300800000`: "", `"9999-12-31T23:59:59-01:00"`: "", `"1969-12-31T23:59:59Z"`: "", `"1970-01-01T00:00:00+01:00"`: "",
			`"0001-01-01T00:00:00Z"`: "", `0`: "", `-1`: "", `1e300`: "", `1e999`: "", `"2025-01-15"`: "", `"2025-02-30T10:30:00Z"`: "",
			`"NaN"`: "", `"soon"`: "", `true`: "",
		}},
		{"video.processing", "progress", func(u *tasks.JobUpdate) string { return formatPercent(u.Progress) }, map[string]string{
			`0`: "0", `45`: "45", `45.9`: "45", `99.99`: "99", `4.5e1`: "45", `"45"`: "45", `"45%"`: "45", `" 45.5 % "`: "45",
			`-5`: "0", `1000`: "100", `1e300`: "100", `1e999`: "", `"NaN"`: "", `"Inf"`: "", `"%"`: "", `"half"`: "", `""`: "", `null`: "", `[45]`: "",
		}},
		{"video.completed", "duration", func(u *tasks.JobUpdate) string { return u.Duration.String() }, map[string]string{
			`5`: "5s", `5.1`: "5.1s", `"5"`: "5s", `"5.0416"`: "5.042s", `86400`: "24h0m0s", `86401`: "0s", `0`: "0s", `-5`: "0s",
			`1e999`: "0s", `"NaN"`: "0s", `"5s"`: "0s", `{}`: "0s",
		}},
		{"video.failed", "error", func(u *tasks.JobUpdate) string { return u.Error }, map[string]string{
			`"content policy"`: "content policy", `{"code":1301,"message":"content policy"}`: "content policy (code 1301)",
			`{"code":"RISK\u0000","message":"content\u0000 policy"}`: "content policy (code RISK)",
			`{"message":"content policy"}`:                           "content policy", `{"code":1301}`: "code 1301",
			`{"reason":"content policy"}`: "", `""`: "", `null`: "", `1301`: "", `["content policy"]`: "",
		}},
	}
	src := newSource(t, "klingai")
	for _, tt := range tests {
		for value, want := range tt.want {
			body := fmt.Sprintf(`{"event":%q,"data":{"job_id":"vid_1",%q:%s}}`, tt.event, tt.field, value)
			update, err := src.Update(tasks.Event{Body: []byte(body)})
			if err != nil {
				t.Fatalf("%s: %v", body, err)
			}
			if got := tt.read(update); got != want {
				t.Errorf("%s of %s = %q, want %q", tt.field, value, got, want)
			}
		}
	}
}

func formatTime(at time.Time) string {
	if at.IsZero() {
		return ""
	}
	return at.Format(time.RFC3339Nano)
}

func formatPercent(percent *int) string {
	if percent == nil {
		return ""
	}
	return strconv.Itoa(*percent)
}
