package e2e

import (
	"crypto/sha256"
	"encoding/hex"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/klinghook/klinghook/internal/testenv"
)

// oneJob returns a system without processes, with one completed job, and the content of
// its store.
func oneJob(t *testing.T) (*reconciler, *kept, *event) {
	t.Helper()
	s := &system{world: newWorld(t), sender: newSender(nil)}
	sc := &script{rng: rand.New(rand.NewPCG(1, 1)), media: "media.test", n: 1}
	e := sc.seed(says{job: "job-1", kind: completed, at: time.Unix(1e9, 0), progress: -1}, 0)
	s.sender.ledger.known(&e)
	s.sender.ledger.answered(&e, 200)
	sum := sha256.Sum256(e.body)
	k := &kept{
		events:        map[string]keptEvent{e.id: {body: hex.EncodeToString(sum[:]), processed: true}},
		jobs:          map[string]outcome{"job-1": outcomeOf([]says{e.says})},
		notifications: []keptNotification{{id: "n1", job: "job-1", kind: completed, state: "sent"}},
	}
	for name, path := range e.says.files {
		k.media = append(k.media, keptFile{job: "job-1", name: name, state: "stored", object: name, sum: digest(path)})
		testenv.NoError(t, os.WriteFile(filepath.Join(s.bucket, name), file(path), 0o600))
	}
	s.receiver.messages["n1"] = &message{kind: completed, job: "job-1", times: 2}
	return &reconciler{system: s}, k, &e
}

// TestReconcilerNotices tests the suite itself.
func TestReconcilerNotices(t *testing.T) {
	tests := []struct {
		name  string
		spoil func(r *reconciler, k *kept, e *event)
		want  string // part of the only problem; empty for none
	}{
		{"nothing", func(*reconciler, *kept, *event) {}, ""},
		{"a lost event", func(r *reconciler, k *kept, e *event) {
			other := *e
			other.id = "lost"
			r.sender.ledger.known(&other)
			r.sender.ledger.answered(&other, 200)
		}, "LOST"},
		{"an event that nobody sent", func(r *reconciler, k *kept, e *event) { k.events["other"] = keptEvent{processed: true} }, "never sent"},
		{"a changed body", func(r *reconciler, k *kept, e *event) { k.events[e.id] = keptEvent{body: "other", processed: true} }, "another body"},
		{"an unprocessed event", func(r *reconciler, k *kept, e *event) {
			k.events[e.id] = keptEvent{body: k.events[e.id].body}
		}, "not processed"},
		{"a wrong status", func(r *reconciler, k *kept, e *event) { k.jobs["job-1"] = outcome{status: "processing"} }, "want completed"},
		{"an extra job", func(r *reconciler, k *kept, e *event) { k.jobs["job-2"] = outcome{} }, "job job-2 has no kept event"},
		{"a missing file", func(r *reconciler, k *kept, e *event) {
			testenv.NoError(r.t, os.Remove(filepath.Join(r.bucket, "video")))
		}, "not in the bucket"},
		{"a damaged file", func(r *reconciler, k *kept, e *event) {
			testenv.NoError(r.t, os.WriteFile(filepath.Join(r.bucket, "video"), []byte("x"), 0o600))
		}, "SHA-256"},
		{"a temporary file", func(r *reconciler, k *kept, e *event) {
			testenv.NoError(r.t, os.WriteFile(filepath.Join(r.bucket, "video.1.tmp"), nil, 0o600))
		}, "has no row"},
		{"a missing notification", func(r *reconciler, k *kept, e *event) {
			delete(r.receiver.messages, "n1")
			k.notifications = nil
		}, "no notification"},
		{"a second id", func(r *reconciler, k *kept, e *event) {
			r.receiver.messages["n2"] = &message{kind: completed, job: "job-1", times: 1}
		}, "several ids"},
		{"a notification of nothing", func(r *reconciler, k *kept, e *event) {
			r.receiver.messages["n2"] = &message{kind: failed, job: "job-1", times: 1}
		}, "which has no kept event"},
		{"a dead letter", func(r *reconciler, k *kept, e *event) { k.deadLetters = []deadLetter{{task: "t"}} }, "dead letter"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r, k, e := oneJob(t)
			tt.spoil(r, k, e)
			r.check(*k)
			switch {
			case tt.want == "" && len(r.problems) > 0:
				t.Errorf("problems: %q", r.problems)
			case tt.want != "" && (len(r.problems) != 1 || !strings.Contains(r.problems[0], tt.want)):
				t.Errorf("problems: %q, want one that says %q", r.problems, tt.want)
			}
		})
	}
}
