package tasks_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/klinghook/klinghook/internal/testenv"
	"github.com/klinghook/klinghook/tasks"
)

var update = flag.Bool("update", false, "write the golden payloads; only for a kind that no release has")

func goldenEvent() tasks.Event {
	return tasks.Event{
		ID: "klingai:2f0f", Source: "klingai", Type: "video.completed", Job: tasks.KlingJob("vid_abc123"),
		ReceivedAt: time.Date(2025, 1, 15, 10, 30, 0, 123456789, time.UTC), Secret: "sha256:0badcafe",
		Headers: map[string]string{"X-Kling-Signature": "sha256=00ff"},
		Body:    []byte(`{"event":"video.completed","data":{"job_id":"vid_abc123","video_url":"https://cdn.example/v.mp4?a=1&b=<2>"}}` + "\u2028"),
	}
}

func goldenRejection() tasks.Rejection {
	return tasks.Rejection{
		ID: "rej_1", ReceivedAt: time.Date(2025, 1, 15, 10, 30, 0, 0, time.UTC), Source: "klingai", Reason: "invalid_signature",
		Detail: "no signature", Peer: "192.0.2.1:1234", Headers: map[string]string{"User-Agent": "curl"}, Body: []byte("{\"a\":\"\xff\"}"),
	}
}

func TestGoldenPayloadsAreReadAndWrittenUnchanged(t *testing.T) {
	binary := goldenEvent()
	binary.Body = []byte("{\"a\":\"\x00\xff\xfe\"}")
	tests := []struct {
		name string // of the file; begins with the kind
		make func() (tasks.Task, error)
		read func([]byte) (any, error)
		want any
	}{
		{
			"event:record", func() (tasks.Task, error) { return tasks.RecordEvent(goldenEvent()) },
			func(p []byte) (any, error) { return tasks.DecodeEvent(p) }, goldenEvent(),
		},
		{
			"event:record.binary", func() (tasks.Task, error) { return tasks.RecordEvent(binary) },
			func(p []byte) (any, error) { return tasks.DecodeEvent(p) }, binary,
		},
		{
			"media:download", func() (tasks.Task, error) {
				return tasks.DownloadMedia(tasks.KlingJob("vid_abc123"), "video", "https://cdn.example/v.mp4?a=1")
			},
			func(p []byte) (any, error) { return tasks.DecodeMediaDownload(p) }, tasks.MediaDownload{Job: tasks.KlingJob("vid_abc123"), Name: "video"},
		},
		{
			"media:find", func() (tasks.Task, error) { return tasks.FindMedia(tasks.KlingJob("vid_abc123")) },
			func(p []byte) (any, error) { return tasks.DecodeMediaFind(p) }, tasks.KlingJob("vid_abc123"),
		},
		{
			"notify:send", func() (tasks.Task, error) { return tasks.SendNotification("ntf_1", tasks.KlingJob("vid_abc123")) },
			func(p []byte) (any, error) { return tasks.DecodeNotifySend(p) }, tasks.NotifySend{NotificationID: "ntf_1", Job: tasks.KlingJob("vid_abc123")},
		},
		{
			"rejection:keep", func() (tasks.Task, error) { return tasks.KeepRejection(goldenRejection()) },
			func(p []byte) (any, error) { return tasks.DecodeRejection(p) }, goldenRejection(),
		},
	}
	seen := make(map[tasks.Kind]bool)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			task, err := tt.make()
			testenv.NoError(t, err)
			seen[task.Kind] = true
			path := filepath.Join("testdata", strings.ReplaceAll(tt.name, ":", "-")+".v1.json")
			if *update {
				testenv.NoError(t, os.WriteFile(path, task.Payload, 0o600))
			}
			golden, err := os.ReadFile(path)
			testenv.NoError(t, err)
			if diff := cmp.Diff(string(golden), string(task.Payload)); diff != "" {
				t.Errorf("payload (-golden +got):\n%s", diff)
			}
			got, err := tt.read(golden)
			testenv.NoError(t, err)
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("decoded (-want +got):\n%s", diff)
			}
		})
	}
	for _, p := range tasks.Policies() {
		if !seen[p.Kind] {
			t.Errorf("kind %s has no golden payload", p.Kind)
		}
	}
}

func TestUnreadablePayloadIsPermanentError(t *testing.T) {
	for _, payload := range []string{"", "null", "[]", `{"id":1}`, "\xff", `{"source":"klingai"}`, strings.Repeat("[", 1<<16)} {
		if _, err := tasks.DecodeEvent([]byte(payload)); !tasks.IsPermanent(err) {
			t.Errorf("DecodeEvent(%.20q) = %v, want a permanent error", payload, err)
		}
	}
}

// FuzzEventCodec checks that decoding an encoded event returns it unchanged.
func FuzzEventCodec(f *testing.F) {
	f.Add("klingai:1", "video.completed", "vid_1", "X-A", "v", []byte(`{"a":1}`))
	f.Add("a:b", "\u2028<&>", "\x00", "H", "\\", []byte{0xff, 0})
	f.Add("a\x01\b\f\n\r\t\x1f\x7f", "\u2027\u2028\u2029\u202a", "\u20e2", "", "", []byte("\u2028\u2029\xe2\x80"))
	f.Fuzz(func(t *testing.T, id, kind, job, header, value string, body []byte) {
		if id == "" {
			return
		}
		// JSON contains only valid UTF-8.
		for _, s := range []*string{&id, &kind, &job, &header, &value} {
			*s = strings.ToValidUTF8(*s, "?")
		}
		in := tasks.Event{ID: id, Source: "klingai", Type: kind, Job: tasks.KlingJob(job), ReceivedAt: time.Unix(1, 2).UTC(), Headers: map[string]string{header: value}, Body: body}
		task, err := tasks.RecordEvent(in)
		testenv.NoError(t, err)
		out, err := tasks.DecodeEvent(task.Payload)
		testenv.NoError(t, err)
		if !bytes.Equal(in.Body, out.Body) {
			t.Fatalf("body %q came out as %q", in.Body, out.Body)
		}
		in.Body, out.Body = nil, nil
		if diff := cmp.Diff(in, out); diff != "" {
			t.Fatal(diff)
		}
	})
}

// FuzzDecodeEvent checks that every error is permanent.
func FuzzDecodeEvent(f *testing.F) {
	f.Add([]byte(`{"id":"a","source":"b","body_base64":"AA=="}`))
	f.Fuzz(func(t *testing.T, payload []byte) {
		if _, err := tasks.DecodeEvent(payload); err != nil && !tasks.IsPermanent(err) {
			t.Errorf("%v is not permanent", err)
		}
	})
}

// FuzzDecodePayload checks the other kinds: errors are permanent, and a decoded payload
// can be enqueued again under an ID that the queue pages can address.
func FuzzDecodePayload(f *testing.F) {
	f.Add([]byte(`{"job_id":"../\ud800","name":"video"}`))
	f.Add([]byte(`{"notification_id":"n/1","job_id":"\u0000"}`))
	f.Add([]byte(`{"id":"rej_1","received_at":"9999-12-31T23:59:59Z","source":"klingai","reason":"malformed","peer":"[::1]:1","headers":{"A":"b"},"body":"AA=="}`))
	f.Fuzz(func(t *testing.T, payload []byte) {
		media, mediaErr := tasks.DecodeMediaDownload(payload)
		notification, notificationErr := tasks.DecodeNotifySend(payload)
		rejection, rejectionErr := tasks.DecodeRejection(payload)
		wantEnqueuable(t, mediaErr, func() (tasks.Task, error) {
			return tasks.DownloadMedia(media.Job, media.Name, "https://cdn.example/")
		})
		wantEnqueuable(t, notificationErr, func() (tasks.Task, error) {
			return tasks.SendNotification(notification.NotificationID, notification.Job)
		})
		bare, bareErr := tasks.DecodeMediaFind(payload)
		wantEnqueuable(t, bareErr, func() (tasks.Task, error) { return tasks.FindMedia(bare) })
		wantEnqueuable(t, rejectionErr, func() (tasks.Task, error) { return tasks.KeepRejection(rejection) })
	})
}

func wantEnqueuable(t *testing.T, decodeErr error, again func() (tasks.Task, error)) {
	t.Helper()
	if decodeErr != nil {
		if !tasks.IsPermanent(decodeErr) {
			t.Errorf("%v is not permanent", decodeErr)
		}
		return
	}
	task, err := again()
	testenv.NoError(t, err)
	if !json.Valid(task.Payload) || strings.ContainsAny(task.ID, "/\\\x00 ") || len(task.ID) > 512 {
		t.Errorf("task %q with payload %q", task.ID, task.Payload)
	}
}

func TestTaskIDsAreDeterministic(t *testing.T) {
	id := func(task tasks.Task, err error) string {
		t.Helper()
		testenv.NoError(t, err)
		return task.ID
	}
	const link = "https://cdn.example/v.mp4"
	first := id(tasks.DownloadMedia(tasks.KlingJob("vid/1"), "video", link))
	if again := id(tasks.DownloadMedia(tasks.KlingJob("vid/1"), "video", link)); again != first {
		t.Errorf("the same work has ids %q and %q", first, again)
	}
	for _, other := range []string{
		id(tasks.DownloadMedia(tasks.KlingJob("vid/1"), "video", link+"?sig=2")),
		id(tasks.DownloadMedia(tasks.KlingJob("vid/1"), "video-2", link)),
		id(tasks.DownloadMedia(tasks.KlingJob("vid_1"), "video", link)),
	} {
		if other == first {
			t.Errorf("different work has the same id, %q", other)
		}
	}
	for _, taskID := range []string{first, id(tasks.SendNotification("n/1", tasks.JobKey{})), id(tasks.RecordEvent(tasks.Event{ID: tasks.EventID("klingai", "a/b", nil)}))} {
		if strings.Contains(taskID, "/") {
			t.Errorf("task id %q contains a slash", taskID)
		}
	}
}
