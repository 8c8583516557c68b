package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/klinghook/klinghook/internal/testenv"
)

// oneJob returns the data of one completed job, which agree.
func oneJob(t *testing.T) (*reconciler, *kept) {
	t.Helper()
	w := newWorld(t)
	e := w.script.seed(says{job: "job-1", kind: completed, at: time.Unix(1e9, 0), progress: -1}, 0)
	sent := tally{events: map[string]*event{"e1": &e, "e2": &e}, acks: map[string]int{"e1": 2}}
	k := &kept{
		events:        map[string]keptEvent{"e1": {body: sha(e.body), processed: true}},
		jobs:          outcomesOf([]says{e.says}),
		notifications: []keptNotification{{id: "n1", job: "job-1", kind: completed, state: "sent"}},
	}
	testenv.NoError(t, os.Mkdir(filepath.Join(w.bucket, "job-1"), 0o700))
	for name, path := range e.says.files {
		object := "job-1/" + filepath.Base(path)
		k.media = append(k.media, keptFile{job: "job-1", name: name, state: "stored", object: object, sum: digest(path)})
		testenv.NoError(t, os.WriteFile(filepath.Join(w.bucket, object), file(path), 0o600))
	}
	w.receiver.messages["n1"] = &message{kind: completed, job: "job-1", times: 2}
	return &reconciler{world: w, sent: sent}, k
}

// TestReconcilerNotices tests the suite itself: a check that never fails would hide
// every loss.
func TestReconcilerNotices(t *testing.T) {
	write := func(r *reconciler, object, content string) {
		testenv.NoError(t, os.WriteFile(filepath.Join(r.bucket, "job-1", object), []byte(content), 0o600))
	}
	for want, spoil := range map[string]func(r *reconciler, k *kept){
		"":                        func(*reconciler, *kept) {},
		"LOST":                    func(r *reconciler, _ *kept) { r.sent.acks["e2"] = 1 },
		"never sent":              func(_ *reconciler, k *kept) { k.events["e3"] = keptEvent{processed: true} },
		"another body":            func(_ *reconciler, k *kept) { k.events["e1"] = keptEvent{body: "other", processed: true} },
		"is not processed":        func(_ *reconciler, k *kept) { k.events["e1"] = keptEvent{body: k.events["e1"].body} },
		"is processing":           func(_ *reconciler, k *kept) { k.jobs["job-1"] = outcome{status: "processing"} },
		"job job-2 has no kept":   func(_ *reconciler, k *kept) { k.jobs["job-2"] = outcome{} },
		"is pending":              func(_ *reconciler, k *kept) { k.media[0].state = "pending" },
		"not in the bucket":       func(_ *reconciler, k *kept) { k.media[0].object = "job-1/other" },
		"has SHA-256":             func(r *reconciler, _ *kept) { write(r, "video.mp4", "x") },
		"has no row":              func(r *reconciler, _ *kept) { write(r, "video.1.tmp", "") },
		"no notification":         func(r *reconciler, k *kept) { delete(r.receiver.messages, "n1"); k.notifications = nil },
		"several ids":             func(r *reconciler, _ *kept) { r.receiver.messages["n2"] = &message{kind: completed, job: "job-1"} },
		"a notification of video": func(r *reconciler, _ *kept) { r.receiver.messages["n2"] = &message{kind: failed, job: "job-1"} },
		"dead letter":             func(_ *reconciler, k *kept) { k.deadLetters = []string{"t"} },
	} {
		t.Run(want, func(t *testing.T) {
			r, k := oneJob(t)
			spoil(r, k)
			r.check(*k)
			if problems := strings.Join(r.problems, "\n"); want == "" && problems != "" || !strings.Contains(problems, want) {
				t.Errorf("problems: %q, want one that says %q", problems, want)
			}
		})
	}
}
