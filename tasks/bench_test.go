package tasks_test

import (
	"strings"
	"testing"
	"time"

	"github.com/klinghook/klinghook/tasks"
)

func benchEvent() tasks.Event {
	body := `{"event":"video.completed","timestamp":"2025-01-15T10:30:00Z","data":{"job_id":"vid_1","video_url":"https://cdn.example.com/vid_1.mp4?sig=0123456789abcdef","prompt":"` +
		strings.Repeat("A cat in a red hat. ", 18) + `"}}`
	return tasks.Event{
		ID: tasks.EventID("klingai", "", []byte(body)), Source: "klingai", Type: tasks.TypeCompleted, JobID: "vid_1",
		ReceivedAt: time.Date(2025, 1, 15, 10, 30, 1, 234567891, time.UTC), Secret: "0123456789abcdef",
		Headers: map[string]string{"X-Kling-Signature": "sha256=" + strings.Repeat("0a", 32)}, Body: []byte(body),
	}
}

func BenchmarkRecordEvent(b *testing.B) {
	ev := benchEvent()
	b.SetBytes(int64(len(ev.Body)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := tasks.RecordEvent(ev); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecodeEvent(b *testing.B) {
	task, err := tasks.RecordEvent(benchEvent())
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(task.Payload)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := tasks.DecodeEvent(task.Payload); err != nil {
			b.Fatal(err)
		}
	}
}
