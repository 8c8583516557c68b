package e2e

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/hibiken/asynq"

	"github.com/klinghook/klinghook/internal/testenv"
)

// row counts what a scenario did. docs/reliability.md explains the columns.
type row struct {
	sent, acknowledged, refused, kept int
	jobs, objects, notifications      int
	repeatsIn, repeatsOut             int
	lost, lostAsDocumented            int
}

// cells returns the row's cells in Markdown.
func (r row) cells(settled time.Duration) string {
	lost := fmt.Sprint(r.lost)
	if r.lostAsDocumented > 0 {
		lost = fmt.Sprintf("%d, %d of them as documented", r.lost, r.lostAsDocumented)
	}
	return fmt.Sprintf("%d | %d | %d | %d | %d + %d + %d | %d / %d | %s | %.0f s", r.sent, r.acknowledged, r.refused, r.kept,
		r.jobs, r.objects, r.notifications, r.repeatsIn, r.repeatsOut, lost, settled.Seconds())
}

// reconciler compares the result with the events sent.
type reconciler struct {
	*world
	sent     tally
	row      row
	problems []string
}

// report records a problem.
func (r *reconciler) report(format string, args ...any) {
	r.problems = append(r.problems, fmt.Sprintf(format, args...))
}

// reconcile compares the stored data with the events sent, and fails the test if they
// do not agree.
func (w *world) reconcile() row {
	w.t.Helper()
	k, err := w.readStore()
	testenv.NoError(w.t, err)
	r := &reconciler{world: w, sent: w.sender.sent()}
	r.problems = r.sent.problems
	r.check(k)
	for _, s := range w.services {
		r.problems = append(r.problems, s.problems()...)
	}
	if n := len(r.problems); n > 0 {
		w.t.Errorf("%d problems:\n%s", n, strings.Join(r.problems[:min(n, 40)], "\n"))
	}
	return r.row
}

func (r *reconciler) check(k kept) {
	r.row.sent, r.row.acknowledged, r.row.refused = r.sent.posts, len(r.sent.acks), r.sent.refused
	for _, times := range r.sent.acks {
		r.row.repeatsIn += times - 1
	}
	outcomes := outcomesOf(r.checkEvents(k))
	r.checkJobs(k, outcomes)
	r.checkFiles(k, outcomes)
	r.checkNotifications(k, outcomes)
	r.checkErased(k)
	for _, d := range k.deadLetters {
		r.report("dead letter of %s", d)
	}
	if k.rejections > r.sent.forged {
		r.report("%d samples of %d refused deliveries", k.rejections, r.sent.forged)
	}
}

// checkEvents compares the events with the answers to the sender, and returns what the
// kept ones say.
func (r *reconciler) checkEvents(k kept) (said []says) {
	for id, e := range k.events {
		original := r.sent.events[id]
		if original == nil {
			r.report("event %s is in the store but was never sent", id)
			continue
		}
		if e.body != sha(original.body) {
			r.report("event %s has another body than was sent", id)
		}
		if !e.processed {
			r.report("event %s is not processed", id)
		}
		said = append(said, original.says)
	}
	r.row.kept = len(k.events)
	for id := range r.sent.acks {
		_, isKept := k.events[id]
		switch {
		case !isKept && k.erased[r.sent.events[id].says.job]:
		case !isKept && !r.lost[id]:
			r.row.lost++
			r.report("event %s of job %s was acknowledged and is LOST", id, r.sent.events[id].says.job)
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
		case !strings.Contains(f.job, "/") && f.object != f.job+"/"+filepath.Base(path):
			r.report("%s of job %s is object %s", f.name, f.job, f.object)
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
		sums[filepath.ToSlash(name)] = sha(content)
		return err
	})
	if err != nil {
		r.report("read the bucket: %v", err)
	}
	return sums
}

// checkErased checks that no row and no task of a deleted job is left; the other checks
// find files.
func (r *reconciler) checkErased(k kept) {
	for id := range k.events {
		if original := r.sent.events[id]; original != nil && k.erased[original.says.job] {
			r.report("event %s of the deleted job %s is in the store", id, original.says.job)
		}
	}
	for _, n := range k.notifications {
		if k.erased[n.job] {
			r.report("notification %s of the deleted job %s is in the store", n.id, n.job)
		}
	}
	if len(k.erased) == 0 {
		return
	}
	inspector := asynq.NewInspectorFromRedisClient(r.rdb)
	for _, queue := range []string{"events", "media", "notify"} {
		for _, list := range []func(string, ...asynq.ListOption) ([]*asynq.TaskInfo, error){inspector.ListArchivedTasks, inspector.ListCompletedTasks} {
			page, err := list(queue, asynq.PageSize(100_000))
			if err != nil {
				r.report("list the tasks of %s: %v", queue, err)
			}
			for _, task := range page {
				var about struct {
					Job string `json:"job_id"`
				}
				if json.Unmarshal(task.Payload, &about) == nil && k.erased[about.Job] {
					r.report("task %s of the deleted job %s is %s", task.ID, about.Job, task.State)
				}
			}
		}
	}
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
				r.report("notifications of %s of job %s with several ids: %q", kind, job, got)
			}
		}
	}
	for id := range ids {
		if !k.erased[id.job] {
			r.report("a notification of %s of job %s, which has no kept event", id.kind, id.job)
		}
	}
	for _, n := range k.notifications {
		if m := r.receiver.messages[n.id]; n.state != "sent" || m == nil || m.job != n.job || m.kind != n.kind {
			r.report("notification %s of %s of job %s is %s; the receiver got %+v", n.id, n.kind, n.job, n.state, m)
		}
	}
}
