package e2e

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/klinghook/klinghook/internal/testenv"
)

const (
	simulatedFor  = 3 * time.Second
	lookupAfter   = 3 * time.Second
	lookupDelayed = 12 * time.Second // by a busy machine
)

// unreliable makes the simulator lose, repeat and reorder callbacks, answer with
// errors, and give dead links.
func unreliable(more ...string) []string {
	return append([]string{
		"--seed", "7", "--duration", simulatedFor.String(), "--lost", "0.3", "--repeat", "0.2", "--reorder", "0.2", "--fail", "0.15",
		"--dead-links", "0.2", "--drift", "--trouble", "0.01", "--media-size", "64KiB",
	}, more...)
}

// lookupRun is jobs at a simulator, and the klinghook that waits for them.
type lookupRun struct {
	*world
	sim     *simulator
	jobs    []*simulatedJob
	lines   []*line
	workers []*service
}

// TestLookupsReplaceLostCallbacks checks that all jobs end as Kling says, in time, and
// with no more calls than allowed, by two workers.
func TestLookupsReplaceLostCallbacks(t *testing.T) {
	t.Parallel()
	const jobs, rate = 160, 25
	r := &lookupRun{world: newFleet(t, testenv.Postgres(t))}
	r.sim = r.newSimulator(unreliable()...)
	for range 2 {
		l := newLine(t, r.sim.addr)
		r.setLookups(l.URL, lookupAfter, rate)
		r.lines = append(r.lines, l)
		r.workers = append(r.workers, r.start(klinghook, "worker"))
	}
	ingest := r.start(ingestProgram)
	r.create(jobs, ingest.url(), r.workers[1].address("metrics"), "official", "t/"+callbackToken)
	r.check(rate)
	checkLogs(t, append(slices.Clone(r.workers), ingest)...)
}

// TestDevLooksUpUnsignedJobs is the same in one process, for unsigned callbacks.
func TestDevLooksUpUnsignedJobs(t *testing.T) {
	t.Parallel()
	const rate = 20
	r := &lookupRun{world: newWorld(t)}
	r.sim = r.newSimulator(unreliable("--unsigned")...)
	r.lines = []*line{newLine(t, r.sim.addr)}
	r.setLookups(r.lines[0].URL, lookupAfter, rate)
	dev := r.start(klinghook, "dev")
	r.workers = []*service{dev}
	r.create(40, dev.url(), dev.address("admin"), "t/"+callbackToken)
	r.check(rate)
	checkLogs(t, dev)
}

// create creates jobs of both APIs that call back at each of the paths in turn, and
// tracks them: half of them with the command, the others with PUT.
func (r *lookupRun) create(n int, base, admin string, paths ...string) {
	r.t.Helper()
	r.openStore()
	args := []string{"jobs", "track"}
	for i := range n {
		j := r.sim.create(i%2 == 0, base+"/webhooks/klingai/"+paths[i/2%len(paths)])
		r.jobs = append(r.jobs, j)
		if i/4%2 == 0 {
			args = append(args, j.id)
			continue
		}
		var body any
		if j.legacy {
			body = map[string]string{"api": "text2video"}
		}
		if status, answer := authorized(r.t, http.MethodPut, "http://"+admin+"/jobs/"+j.id, apiToken, body); status != http.StatusCreated && status != http.StatusOK {
			r.t.Fatalf("PUT /jobs/%s answered %d %s", j.id, status, answer)
		}
	}
	r.mustRun(args...)
}

// check waits until all jobs have ended, and checks all effects.
func (r *lookupRun) check(rate int) {
	r.t.Helper()
	r.checkDelays(r.awaitEnds(), rate)
	r.sim.askEnds(r.jobs)
	r.awaitEffects()
	for _, j := range r.jobs {
		if got := r.text(`SELECT status FROM jobs WHERE id = $1`, j.id); got != j.status {
			r.t.Errorf("job %s is %s, want %s", j.id, got, j.status)
		}
		if j.link != "" {
			r.checkVideo(j)
		}
	}
	if n := r.number(`SELECT count(*) FROM jobs`); n != len(r.jobs) {
		r.t.Errorf("%d jobs, want %d", n, len(r.jobs))
	}
	if n := r.number(`SELECT count(*) FROM dead_letters`); n != 0 {
		r.t.Errorf("%d dead letters, want none", n)
	}
	r.checkNotified()
	for _, l := range r.lines {
		l.checkRate(r.t, rate)
	}
	r.sim.checkStats(len(r.jobs))
}

// awaitEnds waits until every job has ended, and returns when each was first seen so.
func (r *lookupRun) awaitEnds() map[string]time.Time {
	r.t.Helper()
	ended := map[string]time.Time{}
	eventually(r.t, "all jobs to end", func() (bool, string) {
		err := rows(r.t.Context(), r.db, `SELECT id FROM jobs WHERE status NOT IN ('created', 'processing')`, func(row scanner) error {
			var id string
			err := row.Scan(&id)
			if _, seen := ended[id]; !seen {
				ended[id] = time.Now()
			}
			return err
		})
		testenv.NoError(r.t, err)
		return len(ended) == len(r.jobs), fmt.Sprintf("%d of %d have", len(ended), len(r.jobs))
	})
	return ended
}

// checkDelays checks how soon each end was known. A look-up that came too early is
// repeated after as long as the job has taken until then: that is at most the job's
// time and KLINGHOOK_LOOKUP_AFTER, and the time that the calls take at the rate.
func (r *lookupRun) checkDelays(ended map[string]time.Time, rate int) {
	r.t.Helper()
	var delays []time.Duration
	for _, j := range r.jobs {
		delays = append(delays, ended[j.id].Sub(j.created.Add(simulatedFor)))
	}
	slices.Sort(delays)
	calls := 0
	for _, l := range r.lines {
		calls += len(l.all())
	}
	most := simulatedFor + lookupAfter + time.Duration(calls)*time.Second/time.Duration(rate) + lookupDelayed
	slowest := delays[len(delays)-1]
	r.t.Logf("%d jobs, %d calls: the ends were known after %s (median), %s (99th percentile), %s (last)",
		len(delays), calls, delays[len(delays)/2], delays[len(delays)*99/100], slowest)
	if slowest > most {
		r.t.Errorf("the end of a job was known after %s, want at most %s", slowest, most)
	}
}

// awaitEffects waits until all files are stored and all notifications are sent.
func (r *lookupRun) awaitEffects() {
	r.t.Helper()
	eventually(r.t, "all files and notifications", func() (bool, string) {
		media := r.number(`SELECT count(*) FROM media WHERE state <> 'stored'`)
		notifications := r.number(`SELECT count(*) FROM notifications WHERE state <> 'sent'`)
		return media+notifications == 0, fmt.Sprintf("%d files and %d notifications left", media, notifications)
	})
}

// checkVideo compares a job's video, and its row, with what the link serves.
func (r *lookupRun) checkVideo(j *simulatedJob) {
	r.t.Helper()
	status, served, err := get(r.t.Context(), j.link)
	if err != nil || status != http.StatusOK {
		r.t.Fatalf("download: %d, %v", status, err)
	}
	stored, err := os.ReadFile(filepath.Join(r.bucket, j.id, "video.mp4"))
	sum := sha256.Sum256(stored)
	row := r.text(`SELECT sha256 FROM media WHERE job_id = $1`, j.id)
	if err != nil || string(stored) != served || row != hex.EncodeToString(sum[:]) {
		r.t.Errorf("video of job %s has %d bytes, and SHA-256 %s in its row, %v; %d bytes are served", j.id, len(stored), row, err, len(served))
	}
}

// checkNotified checks that each job's end was forwarded once.
func (r *lookupRun) checkNotified() {
	r.t.Helper()
	got := r.receiver.got()
	for _, j := range r.jobs {
		if n := got["video."+j.status+" "+j.id]; n != 1 {
			r.t.Errorf("video.%s of job %s was forwarded %d times", j.status, j.id, n)
		}
	}
	if len(got) != len(r.jobs) {
		r.t.Errorf("%d notifications, want %d", len(got), len(r.jobs))
	}
}
