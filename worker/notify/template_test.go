package notify

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/klinghook/klinghook/tasks"
)

func TestTemplateWritesTheText(t *testing.T) {
	full := testMessage()
	full.Job.Prompt = "@everyone see https://cdn.example.com/v.mp4?sig=s3cr3t"
	nothing := Message{ID: "ntf_1", Type: "video.upscaled"}
	tests := []struct {
		name, template string
		message        Message
		want           string
	}{
		{"default", "", nothing, "Event video.upscaled\nEvent: ntf_1"},
		{"fields", `{{.Event}} {{.Job.ID}} {{.Job.Progress}} {{.Job.Seconds}} {{.Job.Model}} {{.Time.Format "15:04"}}`, full, "completed vid_abc123 100 5.1 kling-v1.5 10:30"},
		{"texts are safe for chat", "{{.Job.Prompt}}", full, "@\u200beveryone see https://cdn.example.com/v.mp4"},
		{"files", "{{range .Files}}{{.Name}}: {{or .Object .State}} {{.Size}}\n{{end}}", full, "video: vid_abc123/video.mp4 12.3 MB\nthumbnail: pending"},
		{"the default and more", "{{.Title}}!\n\n{{.Details}}", nothing, "Event video.upscaled!\n\nEvent: ntf_1"},
		{"nothing for this event", `{{if eq .Event "failed"}}oh no{{end}} `, nothing, "Event video.upscaled\nEvent: ntf_1"},
		{"endless", `{{define "a"}}xxxx{{template "a"}}{{end}}{{template "a"}}`, nothing, strings.Repeat("x", maxMessage) + "…"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			n, err := New(Config{ChatURLs: []string{"generic://example.com/hook"}, Text: tt.template})
			if err != nil {
				t.Fatal(err)
			}
			text, _ := as[*chat](t, n, n.Names()[0]).compose(tt.message)
			if diff := cmp.Diff(tt.want, text); diff != "" {
				t.Errorf("text (-want +got):\n%s", diff)
			}
		})
	}
}

func TestTemplateKeepsTheTitle(t *testing.T) {
	n, err := New(Config{Text: "{{.Job.ID}}", Named: []Destination{
		{Name: "mail", URL: "smtp://mail.example.com/?from=a@example.com&to=b@example.com"}, {Name: "phone", URL: "gotify://gotify.example/AbCdEfGhIjKlMnO"},
	}})
	if err != nil {
		t.Fatal(err)
	}
	for name, key := range map[string]string{"mail": "subject", "phone": "title"} {
		text, params := as[*chat](t, n, name).compose(testMessage())
		if text != "vid_abc123" || params[key] != "Video completed: vid_abc123" {
			t.Errorf("%s has the text %q and %v", name, text, params)
		}
	}
}

func TestCheckTextFindsMistakes(t *testing.T) {
	for text, want := range map[string]string{
		"{{.Title":                      "1: unclosed action",
		"{{.Job.Titel}}":                "can't evaluate field Titel",
		"{{nothing}}":                   `function "nothing" not defined`,
		"{{(index .Files 0).Name}}":     "index out of range",
		"{{.Time.Format}}":              "wrong number of args",
		"{{range .Files}}{{.A}}{{end}}": "can't evaluate field A",
	} {
		err := CheckText(text)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "cannot be used as a template: 1:") {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
	if err := CheckText("{{.Title}}\n{{.Details}}"); err != nil {
		t.Error(err)
	}
}

// A run that fails only at some messages falls back to the default text.
func TestTemplateThatFailsIsIgnored(t *testing.T) {
	n, err := New(Config{ChatURLs: []string{"generic://example.com/hook"}, Text: `{{if eq .Type "video.failed"}}{{index .Files 9}}{{end}}x`})
	if err != nil {
		t.Fatal(err)
	}
	message := Message{ID: "ntf_1", Type: tasks.TypeFailed, At: time.Date(2025, 1, 15, 10, 30, 0, 0, time.UTC)}
	if text, _ := as[*chat](t, n, n.Names()[0]).compose(message); text != "Video failed\nTime: 2025-01-15 10:30:00 UTC" {
		t.Errorf("text %q, want the default", text)
	}
}
