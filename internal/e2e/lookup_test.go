package e2e

import (
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // the "pgx" driver
	_ "modernc.org/sqlite"             // the "sqlite" driver

	"github.com/klinghook/klinghook/internal/programs"
	"github.com/klinghook/klinghook/internal/testenv"
)

const (
	simulatedFor  = 3 * time.Second
	lookupAfter   = 3 * time.Second
	lookupDelayed = 12 * time.Second
)

// lookupJobs returns how many jobs there are, LOOKUP_JOBS or enough to see each
// sort, and how often a second Kling may be asked about them.
func lookupJobs(t *testing.T) (jobs, rate int) {
	t.Helper()
	set := os.Getenv("LOOKUP_JOBS")
	if set == "" {
		return 160, 25
	}
	jobs, err := strconv.Atoi(set)
	if err != nil || jobs < 160 {
		t.Fatalf("LOOKUP_JOBS=%s: write how many jobs there are, 160 at least", set)
	}
	return jobs, 40
}

// unreliable is a Kling that loses, repeats and reorders callbacks, has trouble and
// gives links that are dead.
func unreliable(more ...string) []string {
	return append([]string{
		"--seed", "7", "--duration", simulatedFor.String(), "--lost", "0.3", "--repeat", "0.2", "--reorder", "0.2", "--fail", "0.15",
		"--dead-links", "0.2", "--drift", "--trouble", "0.01", "--media-size", "64KiB",
	}, more...)
}

// lookupRun is jobs at a simulator, and the klinghook that waits for them.
type lookupRun struct {
	*world
	sim      *simulator
	settings map[string]string
	db       *sql.DB
	bucket   string
	jobs     []*simulatedJob
	lines    []*line
	workers  []*programs.Service
	services []*programs.Service
}

// TestLookups has a Kling of whose callbacks some are lost, and holds that all jobs
// come to the end that Kling says, within the time and with no more look-ups than the
// settings allow, of one worker of two.
func TestLookups(t *testing.T) {
	t.Parallel()
	n, rate := lookupJobs(t)
	r := &lookupRun{world: newWorld(t), bucket: t.TempDir()}
	databaseURL := testenv.Postgres(t)
	r.settings = r.world.settings(databaseURL, r.bucket)
	r.settings["KLINGHOOK_REDIS_URL"] = testenv.Redis(t).URL()
	r.sim = newSimulator(t, r.settings, unreliable()...)
	r.settings["KLINGHOOK_MEDIA_ALLOW"] = r.sim.addr
	if _, err := run(t, r.settings, "migrate"); err != nil {
		t.Fatal(err)
	}
	r.open("pgx", databaseURL)
	for range 2 {
		l := newLine(t, r.sim.addr)
		lookupSettings(r.settings, l.URL, lookupAfter, rate)
		r.lines = append(r.lines, l)
		r.workers = append(r.workers, start(t, programs.Klinghook, r.settings, "worker"))
	}
	ingest := start(t, programs.Ingest, r.settings)
	r.services = append(slices.Clone(r.workers), ingest)
	r.create(n, "http://"+ingest.Address("webhooks"), r.workers[1].Address("admin"), "official", "t/"+callbackToken)
	r.check(rate)
	r.checkOneAsks()
}

// TestLookupsDev is the same in one process, for an account that signs nothing.
func TestLookupsDev(t *testing.T) {
	t.Parallel()
	r := &lookupRun{world: newWorld(t), bucket: t.TempDir()}
	data := t.TempDir()
	r.settings = r.world.settings("sqlite:"+data+"/k.db", r.bucket)
	r.settings["KLINGHOOK_DATA"] = data
	r.sim = newSimulator(t, r.settings, unreliable("--unsigned")...)
	r.settings["KLINGHOOK_MEDIA_ALLOW"] = r.sim.addr
	const rate = 20
	r.lines = []*line{newLine(t, r.sim.addr)}
	lookupSettings(r.settings, r.lines[0].URL, lookupAfter, rate)
	dev := start(t, programs.Klinghook, r.settings, "dev")
	r.workers = []*programs.Service{dev}
	r.services = r.workers
	base := "http://" + dev.Address("webhooks")
	r.open("sqlite", data+"/k.db?_pragma=busy_timeout(10000)")
	r.create(40, base, dev.Address("admin"), "t/"+callbackToken)
	r.check(rate)
	r.checkOneAsks()
}

func (r *lookupRun) open(driver, address string) {
	r.t.Helper()
	var err error
	if r.db, err = sql.Open(driver, address); err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = r.db.Close() })
}

// create creates jobs of both APIs that call back at each of the paths in turn, and
// tells klinghook of them: of every other by the command, of the rest by PUT, in part
// with the API and in part without.
func (r *lookupRun) create(n int, base, admin string, paths ...string) {
	r.t.Helper()
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
	if _, err := run(r.t, r.settings, args...); err != nil {
		r.t.Fatal(err)
	}
}

// check waits until all jobs have come to their ends, and looks at what is left.
func (r *lookupRun) check(rate int) {
	r.t.Helper()
	r.checkDelays(r.awaitEnds(), rate)
	r.sim.tell(r.jobs)
	sums := r.awaitMedia()
	for _, j := range r.jobs {
		if got := r.text(`SELECT status FROM jobs WHERE id = $1`, j.id); got != j.status {
			r.t.Errorf("job %s is %s; Kling says %s", j.id, got, j.status)
		}
		if j.link == "" {
			continue
		}
		if want := served(r.t, j.link); sums[j.id] != want || objectSum(r.t, r.bucket, j.id) != want {
			r.t.Errorf("video of job %s has SHA-256 %s in its row, %s in the bucket; served is %s", j.id, sums[j.id], objectSum(r.t, r.bucket, j.id), want)
		}
	}
	if n := r.number(`SELECT count(*) FROM jobs`); n != len(r.jobs) {
		r.t.Errorf("there are %d jobs, want %d", n, len(r.jobs))
	}
	if n := r.number(`SELECT count(*) FROM dead_letters`); n != 0 {
		r.t.Errorf("there are %d dead letters, want none", n)
	}
	r.checkTold()
	for _, l := range r.lines {
		l.checkRate(r.t, rate)
	}
	r.report()
	checkSilence(r.t, r.services...)
}

// awaitEnds waits until no job is unfinished, and returns when each was first seen at
// its end.
func (r *lookupRun) awaitEnds() map[string]time.Time {
	r.t.Helper()
	ended := map[string]time.Time{}
	eventuallyWithin(r.t, 3*time.Minute, "all jobs to end", func() (bool, string) {
		rows, err := r.db.QueryContext(r.t.Context(), `SELECT id FROM jobs WHERE status NOT IN ('created', 'processing')`)
		if err != nil {
			r.t.Fatal(err)
		}
		defer func() { _ = rows.Close() }()
		for rows.Next() {
			var id string
			if err := rows.Scan(&id); err != nil {
				r.t.Fatal(err)
			}
			if _, seen := ended[id]; !seen {
				ended[id] = time.Now()
			}
		}
		return len(ended) == len(r.jobs), fmt.Sprintf("%d of %d have", len(ended), len(r.jobs))
	})
	return ended
}

// checkDelays holds how long after its end each job's end was known. What a look-up
// that came too early puts off is never more than what had passed until then, so that
// it is the job's own time and KLINGHOOK_LOOKUP_AFTER at most, and the time that the
// calls take at the rate.
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
	r.t.Logf("%d jobs: their ends were known after %s (median), %s (99th percentile), %s (last)",
		len(delays), delays[len(delays)/2], delays[len(delays)*99/100], slowest)
	if slowest > most {
		r.t.Errorf("the end of a job was known after %s, want %s at most", slowest, most)
	}
}

// awaitMedia waits until every completed job's video is stored, and returns their
// SHA-256 by job.
func (r *lookupRun) awaitMedia() map[string]string {
	r.t.Helper()
	sums := map[string]string{}
	eventuallyWithin(r.t, 3*time.Minute, "all videos to be stored", func() (bool, string) {
		if owed := r.number(`SELECT count(*) FROM media WHERE state <> 'stored'`); owed > 0 {
			return false, fmt.Sprintf("%d are not", owed)
		}
		owed := r.number(`SELECT count(*) FROM notifications WHERE state <> 'sent'`)
		return owed == 0, fmt.Sprintf("%d notifications are not sent", owed)
	})
	for _, j := range r.jobs {
		if j.status == "completed" {
			sums[j.id] = r.text(`SELECT sha256 FROM media WHERE job_id = $1`, j.id)
		}
	}
	return sums
}

// checkTold holds that of each job's end the receiver was told once.
func (r *lookupRun) checkTold() {
	r.t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	told := map[string]int{}
	for message, times := range r.messages {
		told[message[:strings.LastIndexByte(message, ' ')]] += times
	}
	for _, j := range r.jobs {
		if n := told["video."+j.status+" "+j.id]; n != 1 {
			r.t.Errorf("of job %s, which is %s, the receiver was told %d times", j.id, j.status, n)
		}
	}
	if len(told) != len(r.jobs) {
		r.t.Errorf("the receiver was told of %d ends, want %d", len(told), len(r.jobs))
	}
}

// checkOneAsks holds that of the workers one looked jobs up.
func (r *lookupRun) checkOneAsks() {
	r.t.Helper()
	asked := 0
	for _, w := range r.workers {
		_, metrics := authorized(r.t, http.MethodGet, "http://"+w.Address("admin")+"/metrics", "", nil)
		asks := false
		for l := range strings.Lines(string(metrics)) {
			if strings.HasPrefix(l, "klinghook_lookups_total{") && !strings.HasSuffix(l, " 0\n") {
				asks = true
			}
		}
		if asks {
			asked++
		}
	}
	if asked != 1 {
		r.t.Errorf("%d workers looked jobs up, want one", asked)
	}
}

// report prints what happened, and fails when it was not what the test is about.
func (r *lookupRun) report() {
	r.t.Helper()
	s := r.sim.stats()
	var calls []int
	for _, l := range r.lines {
		calls = append(calls, len(l.all()))
	}
	r.t.Logf("callbacks: %d planned, %d lost, %d repeated, %d reordered; calls of Kling by worker: %v; %d links were dead and %d asked for anew",
		s.Callbacks.Planned, s.Callbacks.Lost, s.Callbacks.Repeated, s.Callbacks.Reordered, calls, s.Media.Dead, s.Lookups.LinksRefreshed)
	if s.Callbacks.Lost == 0 || s.Callbacks.Repeated == 0 || s.Callbacks.Reordered == 0 || s.Jobs.Failed == 0 {
		r.t.Errorf("nothing went wrong at the simulator: %+v", s)
	}
	if s.Jobs.Succeeded+s.Jobs.Failed != len(r.jobs) {
		r.t.Errorf("at the simulator %d jobs succeeded and %d failed of %d", s.Jobs.Succeeded, s.Jobs.Failed, len(r.jobs))
	}
}

func (r *lookupRun) number(query string) (n int) {
	r.t.Helper()
	if err := r.db.QueryRowContext(r.t.Context(), query).Scan(&n); err != nil {
		r.t.Fatal(err)
	}
	return n
}

func (r *lookupRun) text(query, id string) (text string) {
	r.t.Helper()
	if err := r.db.QueryRowContext(r.t.Context(), query, id).Scan(&text); err != nil {
		r.t.Errorf("%s of %s: %v", query, id, err)
	}
	return text
}

// served returns the SHA-256 of what a link holds.
func served(t *testing.T, link string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, link, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	sum := sha256.New()
	if _, err := io.Copy(sum, res.Body); err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("download: %d, %v", res.StatusCode, err)
	}
	return hex.EncodeToString(sum.Sum(nil))
}

func objectSum(t *testing.T, bucket, job string) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(bucket, job, "video.mp4"))
	if err != nil {
		t.Error(err)
	}
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:])
}
