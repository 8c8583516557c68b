package chaos

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// reconciler holds what there is against what was sent.
type reconciler struct {
	*system
	row      row
	problems []string
}

func (r *reconciler) wrong(format string, args ...any) {
	r.problems = append(r.problems, fmt.Sprintf(format, args...))
}

// reconcile returns the scenario's row, and all that is wrong.
func (s *system) reconcile() (row, []string) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(s.ctx), time.Minute)
	defer cancel()
	k, err := readStore(ctx, s.db)
	if err != nil {
		s.t.Fatal(err)
	}
	r := &reconciler{system: s}
	r.check(k)
	for _, p := range s.all() {
		r.problems = append(r.problems, p.troubles()...)
	}
	ledger := s.sender.ledger
	ledger.mu.Lock()
	defer ledger.mu.Unlock()
	r.problems = append(r.problems, ledger.problems...)
	r.row.sent, r.row.acknowledged, r.row.refused = ledger.posts, len(ledger.acks), ledger.refused
	for _, times := range ledger.acks {
		r.row.repeatsIn += times - 1
	}
	return r.row, r.problems
}

// check holds what is kept against what was sent.
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
		r.wrong("dead letter of %s, job %s: %s", d.task, d.job, d.cause)
	}
	if forged := r.sender.ledger.forgeries(); k.rejections > forged {
		r.wrong("%d samples of refused deliveries were kept of %d", k.rejections, forged)
	}
}

// checkEvents holds the events against the answers that the sender got, and returns
// what the kept ones say.
func (r *reconciler) checkEvents(k kept) (said []says) {
	sent := r.sender.ledger.sent()
	for id, e := range k.events {
		original := sent[id]
		if original == nil {
			r.wrong("event %s is in the store, and nobody sent it", id)
			continue
		}
		sum := sha256.Sum256(original.body)
		if e.body != hex.EncodeToString(sum[:]) {
			r.wrong("event %s was kept with another body than it was sent with", id)
		}
		if !e.processed {
			r.wrong("event %s is not processed", id)
		}
		said = append(said, original.says)
	}
	r.row.kept = len(k.events)
	for id := range r.sender.ledger.acknowledged() {
		_, isKept := k.events[id]
		switch {
		case !isKept && !r.lost[id]:
			r.row.lost++
			r.wrong("event %s of job %s was acknowledged, and is LOST", id, sent[id].says.job)
		case !isKept:
			r.row.lost++
			r.row.lostAsDocumented++
		case r.lost[id]:
			r.wrong("event %s was only in the Redis that was wiped, and yet it is in the store", id)
		}
	}
	return said
}

func (r *reconciler) checkJobs(k kept, outcomes map[string]outcome) {
	for job, want := range outcomes {
		got, ok := k.jobs[job]
		switch {
		case !ok:
			r.wrong("job %s is not in the store", job)
		case got.String() != want.String():
			r.wrong("job %s is %s; it must be %s", job, got, want)
		default:
			r.row.jobs++
		}
	}
	for job := range k.jobs {
		if _, ok := outcomes[job]; !ok {
			r.wrong("job %s is in the store, and no kept event tells of it", job)
		}
	}
}

// checkFiles holds the rows of media against the model and the bucket against the
// rows.
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
			r.wrong("%s of job %s is in the store, and no kept event tells of it", f.name, f.job)
		case f.state != "stored":
			r.wrong("%s of job %s is %s", f.name, f.job, f.state)
		case !exists:
			r.wrong("%s of job %s is said to be in object %s, which is not in the bucket", f.name, f.job, f.object)
		case sum != digest(path) || f.sum != sum:
			r.wrong("object %s has SHA-256 %s, its row says %s, and what is served at %s has %s", f.object, sum, f.sum, path, digest(path))
		default:
			r.row.objects++
		}
	}
	for k := range want {
		r.wrong("%s of job %s is not in the store", k.name, k.job)
	}
	for object := range objects {
		r.wrong("%s is in the bucket, and no row tells of it", object)
	}
}

// objects returns the SHA-256 of every file in the bucket, by its name there.
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
		r.wrong("the bucket cannot be read: %v", err)
	}
	return sums
}

// checkNotifications holds what the receiver got against the model: each thing once,
// by webhook-id.
func (r *reconciler) checkNotifications(k kept, outcomes map[string]outcome) {
	r.receiver.mu.Lock()
	defer r.receiver.mu.Unlock()
	r.problems = append(r.problems, r.receiver.problems...)
	type key struct{ job, kind string }
	ids := map[key][]string{}
	for id, m := range r.receiver.messages {
		ids[key{m.job, m.kind}] = append(ids[key{m.job, m.kind}], id)
		r.row.repeatsOut += m.times - 1
	}
	for job, o := range outcomes {
		for kind := range o.told {
			got := ids[key{job, kind}]
			delete(ids, key{job, kind})
			switch len(got) {
			case 0:
				r.wrong("the receiver was not told of %s of job %s", kind, job)
			case 1:
				r.row.notifications++
			default:
				r.wrong("the receiver was told of %s of job %s under several ids: %s", kind, job, some(got))
			}
		}
	}
	for k := range ids {
		r.wrong("the receiver was told of %s of job %s, which no kept event says", k.kind, k.job)
	}
	for _, n := range k.notifications {
		if m := r.receiver.messages[n.id]; n.state != "sent" || m == nil || m.job != n.job || m.kind != n.kind {
			r.wrong("notification %s of %s of job %s is %s; the receiver has %+v", n.id, n.kind, n.job, n.state, m)
		}
	}
}
