package e2e

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/klinghook/klinghook/internal/testenv"
)

// reconciler compares the result with the events sent.
type reconciler struct {
	*system
	row      row
	problems []string
}

// report records a problem.
func (r *reconciler) report(format string, args ...any) {
	r.problems = append(r.problems, fmt.Sprintf(format, args...))
}

// reconcile returns the scenario's row and all problems.
func (s *system) reconcile() (row, []string) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(s.ctx), time.Minute)
	defer cancel()
	k, err := readStore(ctx, s.db)
	testenv.NoError(s.t, err)
	r := &reconciler{system: s}
	r.check(k)
	for _, p := range s.all() {
		r.problems = append(r.problems, p.problems()...)
	}
	sent := s.sender.ledger.read()
	r.problems = append(r.problems, sent.problems...)
	r.row.sent, r.row.acknowledged, r.row.refused = sent.posts, len(sent.acks), sent.refused
	for _, times := range sent.acks {
		r.row.repeatsIn += times - 1
	}
	return r.row, r.problems
}

// check compares the stored data with the events sent.
func (r *reconciler) check(k kept) {
	said := r.checkEvents(k)
	outcomes := map[string]outcome{}
	for job, events := range jobsOf(said) {
		outcomes[job] = outcomeOf(events)
	}
	r.checkJobs(k, outcomes)
	r.checkFiles(k, outcomes)
	r.checkNotifications(k, outcomes)
	for _, d := range k.deadLetters {
		r.report("dead letter of %s, job %s: %s", d.task, d.job, d.cause)
	}
	if forged := r.sender.ledger.read().forged; k.rejections > forged {
		r.report("%d samples of %d refused deliveries", k.rejections, forged)
	}
}

// checkEvents compares the events with the answers to the sender, and returns what the
// kept ones say.
func (r *reconciler) checkEvents(k kept) (said []says) {
	sent := r.sender.ledger.read().events
	for id, e := range k.events {
		original := sent[id]
		if original == nil {
			r.report("event %s is in the store but was never sent", id)
			continue
		}
		sum := sha256.Sum256(original.body)
		if e.body != hex.EncodeToString(sum[:]) {
			r.report("event %s has another body than was sent", id)
		}
		if !e.processed {
			r.report("event %s is not processed", id)
		}
		said = append(said, original.says)
	}
	r.row.kept = len(k.events)
	for id := range r.sender.ledger.read().acks {
		_, isKept := k.events[id]
		switch {
		case !isKept && !r.lost[id]:
			r.row.lost++
			r.report("event %s of job %s was acknowledged and is LOST", id, sent[id].says.job)
		case !isKept:
			r.row.lost++
			r.row.lostAsDocumented++
		case r.lost[id]:
			r.report("event %s was only in the wiped Redis, but is in the store", id)
		}
	}
	return said
}

func (r *reconciler) checkJobs(k kept, outcomes map[string]outcome) {
	for job, want := range outcomes {
		got, ok := k.jobs[job]
		switch {
		case !ok:
			r.report("job %s is not in the store", job)
		case got.String() != want.String():
			r.report("job %s is %s, want %s", job, got, want)
		default:
			r.row.jobs++
		}
	}
	for job := range k.jobs {
		if _, ok := outcomes[job]; !ok {
			r.report("job %s has no kept event", job)
		}
	}
}

// checkFiles compares the rows of media with the model, and the bucket with the rows.
func (r *reconciler) checkFiles(k kept, outcomes map[string]outcome) {
	type key struct{ job, name string }
	want := map[key]string{}
	for job, o := range outcomes {
		for name, path := range o.files {
			want[key{job, name}] = path
		}
	}
	objects := r.objects()
	for _, f := range k.media {
		path, ok := want[key{f.job, f.name}]
		delete(want, key{f.job, f.name})
		sum, exists := objects[f.object]
		delete(objects, f.object)
		switch {
		case !ok:
			r.report("%s of job %s has no kept event", f.name, f.job)
		case f.state != "stored":
			r.report("%s of job %s is %s", f.name, f.job, f.state)
		case !exists:
			r.report("%s of job %s should be object %s, which is not in the bucket", f.name, f.job, f.object)
		case sum != digest(path) || f.sum != sum:
			r.report("object %s has SHA-256 %s, its row %s; the file at %s has %s", f.object, sum, f.sum, path, digest(path))
		default:
			r.row.objects++
		}
	}
	for k := range want {
		r.report("%s of job %s is not in the store", k.name, k.job)
	}
	for object := range objects {
		r.report("object %s has no row", object)
	}
}

// objects returns the SHA-256 of every file in the bucket, by name.
func (r *reconciler) objects() map[string]string {
	sums := map[string]string{}
	err := filepath.WalkDir(r.bucket, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(r.bucket, path)
		sum := sha256.Sum256(content)
		sums[filepath.ToSlash(name)] = hex.EncodeToString(sum[:])
		return err
	})
	if err != nil {
		r.report("read the bucket: %v", err)
	}
	return sums
}

// checkNotifications compares what the receiver got with the model: each notification
// under one webhook-id.
func (r *reconciler) checkNotifications(k kept, outcomes map[string]outcome) {
	r.receiver.mu.Lock()
	defer r.receiver.mu.Unlock()
	type key struct{ job, kind string }
	ids := map[key][]string{}
	for id, m := range r.receiver.messages {
		ids[key{m.job, m.kind}] = append(ids[key{m.job, m.kind}], id)
		r.row.repeatsOut += m.times - 1
	}
	for job, o := range outcomes {
		for kind := range o.notified {
			got := ids[key{job, kind}]
			delete(ids, key{job, kind})
			switch len(got) {
			case 0:
				r.report("no notification of %s of job %s", kind, job)
			case 1:
				r.row.notifications++
			default:
				r.report("notifications of %s of job %s with several ids: %s", kind, job, some(got))
			}
		}
	}
	for k := range ids {
		r.report("a notification of %s of job %s, which has no kept event", k.kind, k.job)
	}
	for _, n := range k.notifications {
		if m := r.receiver.messages[n.id]; n.state != "sent" || m == nil || m.job != n.job || m.kind != n.kind {
			r.report("notification %s of %s of job %s is %s; the receiver got %+v", n.id, n.kind, n.job, n.state, m)
		}
	}
}
