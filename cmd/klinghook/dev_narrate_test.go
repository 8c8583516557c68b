package main

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/klinghook/klinghook/ingest"
	"github.com/klinghook/klinghook/internal/testenv"
	"github.com/klinghook/klinghook/tasks"
	"github.com/klinghook/klinghook/worker"
)

// testNarrator returns a narrator with a stopped clock, and its output.
func testNarrator(t *testing.T) (*narrator, *bytes.Buffer) {
	t.Helper()
	file, err := os.Open(os.DevNull)
	testenv.NoError(t, err)
	t.Cleanup(func() { _ = file.Close() })
	out := &bytes.Buffer{}
	n := newNarrator(newConsole(file, file), out, "klinghook deadletters list")
	n.now = func() time.Time { return time.Date(2026, 1, 2, 15, 4, 5, 0, time.UTC) }
	return n, out
}

func TestNarratorPrintsAttempts(t *testing.T) {
	here, err := os.Getwd()
	testenv.NoError(t, err)
	failure := errors.New("download video of vid_1: fetch vid_1/video.mp4 from cdn.example: 404 Not Found\nand a stack")
	for _, tt := range []struct {
		name    string
		attempt worker.Attempt
		want    string
	}{
		{"recorded", worker.Attempt{Kind: tasks.KindEventRecord, EventType: "video.created", Took: 4321 * time.Microsecond}, "recorded     video.created in 4.3ms"},
		{"failed at Kling", worker.Attempt{Kind: tasks.KindEventRecord, EventType: "video.failed", JobError: "refused", Took: time.Second}, "recorded     video.failed in 1s: refused"},
		{"looked up", worker.Attempt{Kind: tasks.KindEventRecord, EventID: "lookup:1", EventType: "video.completed", Took: time.Second}, "recorded     video.completed in 1s, from a look-up"},
		{"stored", worker.Attempt{Kind: tasks.KindMediaDownload, Media: "video", Size: 1 << 20, Location: filepath.Join(here, "klinghook-data", "v.mp4"), Took: 83 * time.Second}, "stored       video, 1.0 MiB in 1m23s: " + filepath.Join("klinghook-data", "v.mp4")},
		{"stored in a cloud", worker.Attempt{Kind: tasks.KindMediaDownload, Media: "video", Size: 1, Location: "s3://b/vid_1/v.mp4", Took: 12345 * time.Millisecond}, "stored       video, 1 B in 12.3s: s3://b/vid_1/v.mp4"},
		{"overtaken", worker.Attempt{Kind: tasks.KindMediaDownload, Media: "video", Took: time.Second}, "done         downloading video in 1s"},
		{"notified", worker.Attempt{Kind: tasks.KindNotifySend, Destination: "slack-1", Message: "video.completed", Took: 210 * time.Millisecond}, "notified     slack-1 of video.completed in 210ms"},
		{"retried", worker.Attempt{Kind: tasks.KindMediaDownload, Media: "video", Outcome: worker.Retried, Number: 2, Last: 30, Err: failure, RetryIn: 3210 * time.Millisecond}, "failed       downloading video, attempt 2 of 30: fetch vid_1/video.mp4 from cdn.example: 404 Not Found; next attempt in 3.2s"},
		{"given up", worker.Attempt{Kind: tasks.KindNotifySend, Outcome: worker.GivenUp, Number: 20, Last: 20, Err: errors.New("gone")}, "given up     notifying somebody of something, attempt 20: gone; `klinghook deadletters list` shows it for replay"},
		{"interrupted", worker.Attempt{Kind: tasks.KindMediaDownload, Media: "video", Outcome: worker.Interrupted}, "put back     downloading video: this process is stopping; the next one continues"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			n, out := testNarrator(t)
			tt.attempt.Job = tasks.KlingJob("vid_1")
			n.Attempted(tt.attempt)
			if got, want := out.String(), "15:04:05  vid_1               "+tt.want+"\n"; got != want {
				t.Errorf("printed\n%swant\n%s", got, want)
			}
		})
	}
	n, out := testNarrator(t)
	if n.Attempted(worker.Attempt{Kind: tasks.KindRejectionKeep}); out.Len() > 0 {
		t.Errorf("printed %s about a kept rejection", out)
	}
}

func TestNarratorEscapesUntrustedText(t *testing.T) {
	n, out := testNarrator(t)
	n.delivered(ingest.Delivery{Status: 200, Job: tasks.KlingJob("vid\x1b[2J\n1"), Type: "video.\u202e\u009b"})
	if got, want := out.String(), "15:04:05  vid\\u001b[2J 1      received     video.\\u202e\\u009b, answered in 0s\n"; got != want {
		t.Errorf("printed %q, want %q", got, want)
	}
}

func TestNarratorLimitsRefusals(t *testing.T) {
	n, out := testNarrator(t)
	at := n.now()
	n.now = func() time.Time { return at }
	for range 100 {
		n.delivered(ingest.Delivery{Source: "klingai", Status: 401, Outcome: "invalid_signature"})
	}
	if got := strings.Count(out.String(), "\n"); got != refusalsPerSecond {
		t.Errorf("%d lines, want %d", got, refusalsPerSecond)
	}
	out.Reset()
	at = at.Add(time.Second)
	n.delivered(ingest.Delivery{Source: "klingai", Status: 401, Reason: errors.New("no")})
	if got, want := out.String(), "15:04:06  klingai             refused      a delivery with 401: no (and 95 more before)\n"; got != want {
		t.Errorf("printed\n%swant\n%s", got, want)
	}
}
