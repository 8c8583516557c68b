package chaos

import (
	"crypto/sha256"
	"encoding/hex"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// These tests hold the suite itself: what judges must be known to notice.

func TestModel(t *testing.T) {
	at := func(minute int, kind string) says {
		return says{job: "j", kind: kind, at: time.Unix(int64(60*minute), 0), progress: -1, cause: map[string]string{failed: "f", cancelled: "c"}[kind]}
	}
	progress := at(1, processing)
	progress.progress = 40
	tests := []struct {
		name   string
		events []says
		want   string
	}{
		{"created", []says{at(0, created)}, `created, progress -1, prompt "", error "", contradicted false`},
		{"late progress", []says{progress, at(2, processing), at(0, created)}, `processing, progress 40, prompt "", error "", contradicted false`},
		{"completed wins", []says{at(2, completed), at(3, failed)}, `completed, progress 100, prompt "", error "", contradicted false`},
		{"failed first", []says{at(3, cancelled), at(2, failed)}, `failed, progress -1, prompt "", error "c", contradicted true`},
		{"cancelled first", []says{at(2, cancelled), at(3, failed)}, `cancelled, progress -1, prompt "", error "f", contradicted true`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := outcomeOf(tt.events).String(); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

// rest is a system without processes, of one job that went well, and what its store
// would hold.
func rest(t *testing.T) (*reconciler, *kept, *event) {
	t.Helper()
	s := &system{t: t, bucket: t.TempDir(), media: newMediaServer(t, 1), receiver: newReceiver(t, 1), sender: newSender(nil)}
	sc := &script{rng: rand.New(rand.NewPCG(1, 1)), media: "media.test", prefix: "job", n: 1}
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
		if err := os.WriteFile(filepath.Join(s.bucket, name), file(path), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s.receiver.messages["n1"] = &message{kind: completed, job: "job-1", times: 2}
	return &reconciler{system: s}, k, &e
}

func TestReconcilerNotices(t *testing.T) {
	tests := []struct {
		name  string
		spoil func(r *reconciler, k *kept, e *event)
		want  string // in the only problem; empty for none
	}{
		{"nothing", func(*reconciler, *kept, *event) {}, ""},
		{"a lost event", func(r *reconciler, k *kept, e *event) {
			other := *e
			other.id = "lost"
			r.sender.ledger.known(&other)
			r.sender.ledger.answered(&other, 200)
		}, "LOST"},
		{"an event that nobody sent", func(r *reconciler, k *kept, e *event) { k.events["other"] = keptEvent{processed: true} }, "nobody sent it"},
		{"a changed body", func(r *reconciler, k *kept, e *event) { k.events[e.id] = keptEvent{body: "other", processed: true} }, "another body"},
		{"an unprocessed event", func(r *reconciler, k *kept, e *event) {
			k.events[e.id] = keptEvent{body: k.events[e.id].body}
		}, "not processed"},
		{"a wrong status", func(r *reconciler, k *kept, e *event) { k.jobs["job-1"] = outcome{status: "processing"} }, "it must be completed"},
		{"a job too many", func(r *reconciler, k *kept, e *event) { k.jobs["job-2"] = outcome{} }, "no kept event tells of it"},
		{"a missing file", func(r *reconciler, k *kept, e *event) {
			if err := os.Remove(filepath.Join(r.bucket, "video")); err != nil {
				r.t.Fatal(err)
			}
		}, "not in the bucket"},
		{"a damaged file", func(r *reconciler, k *kept, e *event) {
			if err := os.WriteFile(filepath.Join(r.bucket, "video"), []byte("x"), 0o600); err != nil {
				r.t.Fatal(err)
			}
		}, "SHA-256"},
		{"a temporary file", func(r *reconciler, k *kept, e *event) {
			if err := os.WriteFile(filepath.Join(r.bucket, "video.1.tmp"), nil, 0o600); err != nil {
				r.t.Fatal(err)
			}
		}, "no row tells of it"},
		{"a notification that did not come", func(r *reconciler, k *kept, e *event) {
			delete(r.receiver.messages, "n1")
			k.notifications = nil
		}, "was not told"},
		{"a second id", func(r *reconciler, k *kept, e *event) {
			r.receiver.messages["n2"] = &message{kind: completed, job: "job-1", times: 1}
		}, "several ids"},
		{"a notification of nothing", func(r *reconciler, k *kept, e *event) {
			r.receiver.messages["n2"] = &message{kind: failed, job: "job-1", times: 1}
		}, "no kept event says"},
		{"a dead letter", func(r *reconciler, k *kept, e *event) { k.deadLetters = []deadLetter{{task: "t"}} }, "dead letter"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r, k, e := rest(t)
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

func TestRenew(t *testing.T) {
	path := filepath.Join(t.TempDir(), "report.md")
	write := func(text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("before\n" + reportBegin + "\nold\n" + reportEnd + "\nafter\n")
	if err := renew(path, "new\n"); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if want := "before\n" + reportBegin + "\n\nnew\n\n" + reportEnd + "\nafter\n"; string(got) != want {
		t.Errorf("got %q, want %q", got, want)
	}
	write("no marks")
	if err := renew(path, "new"); err == nil {
		t.Error("a file without marks was renewed")
	}
}
