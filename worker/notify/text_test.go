package notify

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/klinghook/klinghook/tasks"
)

func TestTextSaysWhatHappened(t *testing.T) {
	completed := testMessage()
	completed.Job.Contradicted = false
	about := func(eventType string, status tasks.Status) Message {
		return Message{Type: eventType, Job: JobDetails{ID: "vid_1", Status: status, Contradicted: true}}
	}
	failed := about(tasks.TypeFailed, tasks.StatusFailed)
	failed.Job.Contradicted, failed.Job.Error = false, "see https://u:p@kling.example/why?token=s3cr3t#x now"
	late := about(tasks.TypeProcessing, tasks.StatusCancelled)
	late.Job.Progress = 40
	file := func(eventType string, media MediaDetails) Message {
		return Message{Type: eventType, Media: []MediaDetails{media}}
	}
	tests := []struct {
		name string
		m    Message
		want []string
	}{
		{"completed", completed, []string{
			"Video completed: vid_abc123",
			"Prompt: A fox & a <\u200bcrane> at dawn",
			"Model: kling-v1.5",
			"Duration: 5.1 s",
			"External id: order-7",
			"Stored: vid_abc123/video.mp4 (12.3 MB)",
			"Link to thumbnail: https://cdn.example.com/t.jpg (pending)",
			"Time: 2025-01-15 10:30:00 UTC",
		}},
		{"failed", failed, []string{"Video failed: vid_1", "Error: see https://kling.example/why now"}},
		{"late failed of a completed job", about(tasks.TypeFailed, tasks.StatusCompleted), []string{
			"Video failed: vid_1", "Note: the job stays completed; this event contradicts it.",
		}},
		{"late progress", late, []string{"Video processing: vid_1", "Note: this came late; the job is already cancelled.", "Progress: 40 %"}},
		{"created after processing", about(tasks.TypeCreated, tasks.StatusProcessing), []string{"Video created: vid_1", "Note: the job is already processing."}},
		{"completed over failed", about(tasks.TypeCompleted, tasks.StatusCompleted), []string{
			"Video completed: vid_1", "Note: other events said that this job ended differently.",
		}},
		{"unknown type without a job", Message{ID: "m1", Type: "account.changed"}, []string{"Event account.changed", "Event: m1"}},
		{
			"a link with spaces", file(tasks.TypeCompleted, MediaDetails{Name: "video", URL: "https://u:p@cdn.example/a b'?sig=s3cr3t&x y=z"}),
			[]string{"Video completed", "Link to video: https://cdn.example/a b'"},
		},
		{
			"a named object that is not stored yet", file(tasks.TypeCancelled, MediaDetails{Name: "video", State: "failed", Object: "a/video.mp4"}),
			[]string{"Video cancelled", "Link to video: (failed)"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, append([]string{title(tt.m)}, lines(tt.m)...)); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestCleanDisarmsText(t *testing.T) {
	tests := []struct {
		name, text, want string
	}{
		{"lines", " one\r\n\ttwo  three ", "one two three"},
		{"control characters", "a\x1b[31m\u202eb\xff", "a[31mb"},
		{"mentions", "@everyone <!channel>", "@\u200beveryone <\u200b!channel>"},
		{"long", strings.Repeat("é", 250), strings.Repeat("é", 200) + "…"},
		{"long link", "https://a.example/" + strings.Repeat("x", 190) + "?sig=s3cr3t", "https://a.example/" + strings.Repeat("x", 182) + "…"},
		{"quotes in a link", `see https://u:p@a.example/b"c'd?sig=s3cr3t now`, `see https://a.example/b"c'd now`},
		{"links between quotes", `["https://a.example/b","https://u:p@c.example/d?sig=s3cr3t"]`, `["https://a.example/b","https://c.example/d`},
		{"link without a scheme", "//a.example/b c?sig=s3cr3t&x=1 now", "//a.example/b c… now"},
		{"invisible characters in a link", "https:\u200b//u:p@a.example/b\n?sig=s3cr3t", "https://a.example/b …"},
		{"a long port", "https://a.example:" + strings.Repeat("1", 1<<17), "https://a.example:" + strings.Repeat("1", 182) + "…"},
		{"link without path", "s3://user:pass@bucket?sig=s3cr3t.", "s3://bucket"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := clean(tt.text); got != tt.want {
				t.Errorf("clean(%q) = %q, want %q", tt.text, got, tt.want)
			}
		})
	}
}

func TestSize(t *testing.T) {
	for bytes, want := range map[int64]string{
		0: "0 bytes", 999: "999 bytes", 1500: "1.5 kB", 12_345_678: "12.3 MB", 7_000_000_000: "7.0 GB",
	} {
		if got := size(bytes); got != want {
			t.Errorf("size(%d) = %q, want %q", bytes, got, want)
		}
	}
}

func TestComposedTextFitsTheService(t *testing.T) {
	m := Message{Type: tasks.TypeCompleted, At: time.Date(2025, 1, 15, 10, 30, 0, 0, time.UTC), Job: JobDetails{ID: "vid_é"}}
	const heading, details = "Video completed: vid_é", "Time: 2025-01-15 10:30:00 UTC"
	tests := []struct {
		name, url, text string
		params          map[string]string
	}{
		{"in the text", "generic://example.com/", heading + "\n" + details, map[string]string{}},
		{
			"as subject", "smtp://mail.example.com/?from=a@example.com&to=b@example.com", details,
			map[string]string{"subject": "=?utf-8?q?Video_completed:_vid=5F=C3=A9?="},
		},
		{"the operator's subject stays", "smtp://mail.example.com/?from=a@example.com&to=b@example.com&subject=Kling", heading + "\n" + details, map[string]string{}},
		{"as title", "ntfy://ntfy.example/topic", details, map[string]string{"title": heading}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, err := newChat(tt.url)
			if err != nil {
				t.Fatal(err)
			}
			text, params := c.compose(m)
			if text != tt.text {
				t.Errorf("text = %q, want %q", text, tt.text)
			}
			if diff := cmp.Diff(tt.params, map[string]string(params)); diff != "" {
				t.Errorf("params (-want +got)\n%s", diff)
			}
		})
	}
}
