package source_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/klinghook/klinghook/tasks"
)

func date(t *testing.T, rfc3339 string) time.Time {
	t.Helper()
	at, err := time.Parse(time.RFC3339, rfc3339)
	if err != nil {
		t.Fatal(err)
	}
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
				JobID: "vid_abc123", EventID: "e", OccurredAt: at, Status: tasks.StatusCompleted,
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
			&tasks.JobUpdate{JobID: "vid_1", EventID: "e", Status: tasks.StatusCompleted},
		},
		{
			"completed, finished when it occurred", `{"event":"video.completed","timestamp":"2025-01-15T10:30:00Z","data":{"job_id":"vid_1","failed_at":1}}`,
			&tasks.JobUpdate{JobID: "vid_1", EventID: "e", OccurredAt: at, Status: tasks.StatusCompleted, FinishedAt: at},
		},
		{
			"created, status contradicting", `{"event":"video.created","data":{"job_id":"vid_1","status":"completed","video_url":"https://x/v.mp4","completed_at":"2025-01-15T10:30:00Z","error":"x"}}`,
			&tasks.JobUpdate{JobID: "vid_1", EventID: "e", Status: tasks.StatusCreated},
		},
		{
			"processing", `{"event":"video.processing","timestamp":"2025-01-15T11:30:00+01:00","data":{"job_id":"vid_1","progress":45}}`,
			&tasks.JobUpdate{JobID: "vid_1", EventID: "e", OccurredAt: at, Status: tasks.StatusProcessing, Progress: progress(45)},
		},
		{
			"failed", `{"event":"video.failed","timestamp":"2025-01-15T11:00:00Z","data":{"job_id":"vid_1","error":"content\u0000 policy","failed_at":"2025-01-15T10:30:00Z","video_url":"https://x/v.mp4"}}`,
			&tasks.JobUpdate{JobID: "vid_1", EventID: "e", OccurredAt: at.Add(30 * time.Minute), Status: tasks.StatusFailed, Error: "content policy", FinishedAt: at},
		},
		{
			"failed, completed_at", `{"event":"video.failed","timestamp":"2025-01-15T11:00:00Z","data":{"job_id":"vid_1","completed_at":"2025-01-15T10:30:00Z"}}`,
			&tasks.JobUpdate{JobID: "vid_1", EventID: "e", OccurredAt: at.Add(30 * time.Minute), Status: tasks.StatusFailed, FinishedAt: at},
		},
		{
			"cancelled", `{"event":"video.cancelled","timestamp":"2025-01-15T11:00:00Z","data":{"job_id":"vid_1","cancelled_at":"2025-01-15T10:30:00Z","error":"by the user"}}`,
			&tasks.JobUpdate{JobID: "vid_1", EventID: "e", OccurredAt: at.Add(30 * time.Minute), Status: tasks.StatusCancelled, Error: "by the user", FinishedAt: at},
		},
		{"unknown", `{"event":"video.upscaled","data":{"job_id":"vid_1"}}`, nil},
		{
			"fields of wrong types",
			`{"event":"video.completed","timestamp":{},"data":{"job_id":"vid_1","progress":[1],"prompt":1,"model":{},"duration":true,"created_at":[],"completed_at":{},"video_url":1,"thumbnail_url":{"url":"https://x"},"error":1}}`,
			&tasks.JobUpdate{JobID: "vid_1", EventID: "e", Status: tasks.StatusCompleted},
		},
		{
			"nulls and empties",
			`{"event":"video.completed","timestamp":null,"data":{"job_id":"vid_1","progress":null,"prompt":"","model":null,"duration":null,"created_at":"","completed_at":null,"video_url":"","thumbnail_url":null}}`,
			&tasks.JobUpdate{JobID: "vid_1", EventID: "e", Status: tasks.StatusCompleted},
		},
		{
			"text is kept whole", `{"event":"video.created","data":{"job_id":"vid_1","prompt":"  \ud83d\udc31\t\"a\"\n<b>\u0000\u001b ","model":"` + "\xff" + `"}}`,
			&tasks.JobUpdate{JobID: "vid_1", EventID: "e", Status: tasks.StatusCreated, Prompt: "  🐱\t\"a\"\n<b>\x1b ", Model: "\ufffd"},
		},
	}
	src := newSource(t, "klingai")
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := src.Update(tasks.Event{ID: "e", Body: []byte(tt.body)})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("Update (-want +got):\n%s", diff)
			}
		})
	}
}

// seedUpdate is what an event says whose data has one more member.
func seedUpdate(t *testing.T, eventType, member string) *tasks.JobUpdate {
	t.Helper()
	body := fmt.Sprintf(`{"event":%q,"data":{"job_id":"vid_1",%s}}`, eventType, member)
	update, err := newSource(t, "klingai").Update(tasks.Event{Body: []byte(body)})
	if err != nil {
		t.Fatalf("%s: %v", body, err)
	}
	return update
}

func TestSeedTimes(t *testing.T) {
	tests := []struct{ value, want string }{
		{`"2025-01-15T10:30:00Z"`, "2025-01-15T10:30:00Z"},
		{`" 2025-01-15T10:30:00Z "`, "2025-01-15T10:30:00Z"},
		{`"2025-01-15T10:30:00.25+02:00"`, "2025-01-15T08:30:00.25Z"},
		{`1736937000`, "2025-01-15T10:30:00Z"},
		{`1736937000.5`, "2025-01-15T10:30:00.5Z"},
		{`1736937000250`, "2025-01-15T10:30:00.25Z"},
		{`1.736937e9`, "2025-01-15T10:30:00Z"},
		{`"1736937000250"`, "2025-01-15T10:30:00.25Z"},
		{`"1970-01-01T00:00:00Z"`, "1970-01-01T00:00:00Z"},
		{`"9999-12-31T23:59:59Z"`, "9999-12-31T23:59:59Z"},
		{`253402300799999`, "9999-12-31T23:59:59.999Z"},
		{`253402300800000`, ""},
		{`"9999-12-31T23:59:59-01:00"`, ""},
		{`"1969-12-31T23:59:59Z"`, ""},
		{`"1970-01-01T00:00:00+01:00"`, ""},
		{`"0001-01-01T00:00:00Z"`, ""},
		{`0`, ""},
		{`-1`, ""},
		{`1e300`, ""},
		{`1e999`, ""},
		{`"2025-01-15"`, ""},
		{`"2025-02-30T10:30:00Z"`, ""},
		{`"NaN"`, ""},
		{`"soon"`, ""},
		{`true`, ""},
	}
	for _, tt := range tests {
		t.Run(tt.value, func(t *testing.T) {
			var want time.Time
			if tt.want != "" {
				want = date(t, tt.want)
			}
			if got := seedUpdate(t, "video.created", `"created_at":`+tt.value).CreatedAt; got != want {
				t.Errorf("CreatedAt = %v, want %v", got, want)
			}
		})
	}
}

func TestSeedProgress(t *testing.T) {
	const none = -1
	tests := []struct {
		value string
		want  int
	}{
		{`0`, 0},
		{`45`, 45},
		{`45.9`, 45},
		{`99.99`, 99},
		{`4.5e1`, 45},
		{`"45"`, 45},
		{`"45%"`, 45},
		{`" 45.5 % "`, 45},
		{`-5`, 0},
		{`1000`, 100},
		{`1e300`, 100},
		{`1e999`, none},
		{`"NaN"`, none},
		{`"Inf"`, none},
		{`"%"`, none},
		{`"half"`, none},
		{`""`, none},
		{`null`, none},
		{`[45]`, none},
	}
	for _, tt := range tests {
		t.Run(tt.value, func(t *testing.T) {
			got := none
			if p := seedUpdate(t, "video.processing", `"progress":`+tt.value).Progress; p != nil {
				got = *p
			}
			if got != tt.want {
				t.Errorf("Progress = %d, want %d", got, tt.want)
			}
		})
	}
}

func TestSeedDuration(t *testing.T) {
	tests := []struct {
		value string
		want  time.Duration
	}{
		{`5`, 5 * time.Second},
		{`5.1`, 5100 * time.Millisecond},
		{`"5"`, 5 * time.Second},
		{`"5.0416"`, 5042 * time.Millisecond},
		{`86400`, 24 * time.Hour},
		{`86401`, 0},
		{`0`, 0},
		{`-5`, 0},
		{`1e999`, 0},
		{`"NaN"`, 0},
		{`"5s"`, 0},
		{`{}`, 0},
	}
	for _, tt := range tests {
		t.Run(tt.value, func(t *testing.T) {
			if got := seedUpdate(t, "video.completed", `"duration":`+tt.value).Duration; got != tt.want {
				t.Errorf("Duration = %s, want %s", got, tt.want)
			}
		})
	}
}

func TestSeedError(t *testing.T) {
	tests := []struct{ value, want string }{
		{`"content policy"`, "content policy"},
		{`{"code":1301,"message":"content policy"}`, "content policy (code 1301)"},
		{`{"code":"RISK\u0000","message":"content\u0000 policy"}`, "content policy (code RISK)"},
		{`{"message":"content policy"}`, "content policy"},
		{`{"code":1301}`, "code 1301"},
		{`{"reason":"content policy"}`, ""},
		{`""`, ""},
		{`null`, ""},
		{`1301`, ""},
		{`["content policy"]`, ""},
	}
	for _, tt := range tests {
		t.Run(tt.value, func(t *testing.T) {
			if got := seedUpdate(t, "video.failed", `"error":`+tt.value).Error; got != tt.want {
				t.Errorf("Error = %q, want %q", got, tt.want)
			}
		})
	}
}
