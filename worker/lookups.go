package worker

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"

	"github.com/klinghook/klinghook/kling"
	"github.com/klinghook/klinghook/source"
	"github.com/klinghook/klinghook/store"
	"github.com/klinghook/klinghook/tasks"
)

// Kling is asked for jobs. [kling.Client] is one; see its methods.
type Kling interface {
	Jobs(ctx context.Context, ids ...string) ([]kling.Job, error)
	Job(ctx context.Context, id string, kinds ...kling.Kind) (kling.Job, error)
}

// Lookups is how Kling is asked about jobs of which nothing is heard.
type Lookups struct {
	// Kling is asked; nil means that there are no credentials, and nobody is.
	Kling Kling
	// NewAPI reports that the credentials are good for the new API.
	NewAPI bool
	// After is how long an unfinished job is waited for before Kling is asked. It
	// doubles with each time that brings no news, up to a day. Default 15 min.
	After time.Duration
	// GiveUp is how long nothing may be heard of a job before it is lost; default 7
	// days.
	GiveUp time.Duration
}

const (
	// lookupEvery is how often there is a look for jobs to ask about.
	lookupEvery = time.Second
	// lookupBatch is how many of each sort are asked about in one go.
	lookupBatch = 2 * kling.BatchSize
	// lookupCap is the longest wait between two look-ups of a job.
	lookupCap = 24 * time.Hour
	// lookupLeaseTime is how soon another worker may take over from one that has died.
	lookupLeaseTime = 30 * time.Second
)

// extendLease takes the lease, or extends it for who has it already.
//
// KEYS: the lease. ARGV: the holder, milliseconds.
const extendLease = `
local holder = redis.call("GET", KEYS[1])
if holder and holder ~= ARGV[1] then return 0 end
redis.call("SET", KEYS[1], ARGV[1], "PX", ARGV[2])
return 1`

// inquirer asks Kling about jobs: one in the whole fleet, so that its client's rate
// is the fleet's.
type inquirer struct {
	w *Worker
	Lookups
	// name is this worker's, in the lease.
	name string
	// quietUntil is when Kling may be asked again after it refused; failures is how
	// often it did in a row.
	quietUntil time.Time
	failures   int
}

func newInquirer(w *Worker) *inquirer {
	l := w.cfg.Lookups
	l.After = cmp.Or(l.After, 15*time.Minute)
	l.GiveUp = cmp.Or(l.GiveUp, 7*24*time.Hour)
	return &inquirer{w: w, Lookups: l, name: rand.Text()}
}

// run asks until ctx ends.
func (q *inquirer) run(ctx context.Context) {
	tick := time.NewTicker(lookupEvery)
	defer tick.Stop()
	for {
		if err := q.inTurn(ctx); err != nil && ctx.Err() == nil {
			q.w.cfg.Log.Warn("look-ups failed", zap.Error(err))
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// inTurn asks about what is due if this worker has the lease.
func (q *inquirer) inTurn(ctx context.Context) error {
	// The lease is kept while Kling is left alone, too: it tells that somebody asks.
	mine, err := redis.NewScript(extendLease).Run(ctx, q.w.cfg.Redis, []string{tasks.LookupLease}, q.name, lookupLeaseTime.Milliseconds()).Bool()
	if err != nil {
		return fmt.Errorf("take turn: %w", err)
	}
	if !mine || q.w.cfg.Now().Before(q.quietUntil) {
		return nil
	}
	return q.ask(ctx)
}

// LookUp asks Kling once about the jobs that are due, unless another worker of the
// fleet does, or Kling wants to be left alone. A running Worker does so by itself.
func (w *Worker) LookUp(ctx context.Context) error {
	if w.inquirer == nil {
		return errors.New("look jobs up: no credentials for Kling's API")
	}
	return w.inquirer.inTurn(ctx)
}

// ask asks once about the jobs that are due: some of those that somebody asked for,
// and some of those that nobody did, so that neither waits for the other.
func (q *inquirer) ask(ctx context.Context) error {
	// The lease must not run out while a slow rate is waited for.
	ctx, cancel := context.WithTimeout(ctx, lookupLeaseTime/2)
	defer cancel()
	requested, err := q.w.cfg.Store.RequestedLookups(ctx, lookupBatch)
	if err != nil {
		return err
	}
	now := q.w.cfg.Now()
	stale, err := q.w.cfg.Store.StaleJobs(ctx, now.Add(-q.After), now, lookupBatch)
	if err != nil {
		return err
	}
	return q.askAbout(ctx, append(requested, stale...))
}

// askAbout asks about each job once. Those of the new API, and those of which that
// is not known, are asked for together.
func (q *inquirer) askAbout(ctx context.Context, due []store.Lookup) error {
	var together, single []store.Lookup
	for _, l := range due {
		if q.NewAPI && (l.API == "" || l.API == tasks.APITasks) {
			together = append(together, l)
		} else {
			single = append(single, l)
		}
	}
	missing, err := q.askTogether(ctx, together)
	if err != nil {
		return q.rest(err)
	}
	for _, l := range append(single, missing...) {
		job, err := q.find(ctx, l)
		if err := q.settle(ctx, l, &job, err); err != nil {
			return q.rest(err)
		}
	}
	q.failures = 0
	return nil
}

// askTogether asks the new API. It returns those jobs that may be in the other.
func (q *inquirer) askTogether(ctx context.Context, list []store.Lookup) (missing []store.Lookup, err error) {
	if len(list) == 0 {
		return nil, nil
	}
	ids := make([]string, len(list))
	for i, l := range list {
		ids[i] = l.JobID
	}
	jobs, askErr := q.Kling.Jobs(ctx, ids...)
	found := make(map[string]*kling.Job, len(jobs))
	for i := range jobs {
		found[jobs[i].ID] = &jobs[i]
	}
	for _, l := range list {
		job := found[l.JobID]
		switch {
		case job != nil:
			err = q.settle(ctx, l, job, nil)
		case askErr != nil && !kling.AboutJobs(askErr):
			// It was not asked for; it is due still.
		case l.API == "":
			missing = append(missing, l)
		default:
			err = q.settle(ctx, l, nil, cmp.Or(askErr, kling.ErrNotFound))
		}
		if err != nil {
			return nil, err
		}
	}
	if askErr != nil && !kling.AboutJobs(askErr) {
		return nil, askErr
	}
	return missing, nil
}

// find asks for one job of the legacy API.
func (q *inquirer) find(ctx context.Context, l store.Lookup) (kling.Job, error) {
	if l.API == tasks.APITasks {
		return kling.Job{}, kling.ErrNeedsAPIKey
	}
	return q.Kling.Job(ctx, l.JobID, legacyKinds(l.API)...)
}

// legacyKinds are the kinds under which a job may be found that is not in the new
// API.
func legacyKinds(api string) []kling.Kind {
	if api != "" && api != tasks.APILegacy {
		return []kling.Kind{kling.Kind(api)}
	}
	return slices.DeleteFunc(kling.Kinds(), func(k kling.Kind) bool { return k == kling.KindTasks })
}

// rest leaves Kling alone for as long as an error of it asks for, and longer from
// failure to failure. What was not asked about is due still.
func (q *inquirer) rest(err error) error {
	var wait *kling.WaitError
	if errors.As(err, &wait) && wait.For < lookupLeaseTime || errors.Is(err, context.DeadlineExceeded) {
		return nil // the rate is used up; the next round goes on
	}
	pause := max(kling.WaitOf(err), lookupEvery<<min(q.failures, 10))
	q.failures++
	q.quietUntil = q.w.cfg.Now().Add(min(pause, q.After))
	return fmt.Errorf("ask Kling: %w", err)
}

// settle takes an answer in. Its error is that of Kling or of a part of klinghook
// which concerns other jobs as well.
func (q *inquirer) settle(ctx context.Context, l store.Lookup, job *kling.Job, err error) error {
	switch {
	case err == nil:
		l.API = string(job.Kind)
		if err := q.take(ctx, *job); err != nil {
			return err
		}
		return q.conclude(ctx, l, lookupFound, job.Status.Terminal())
	case errors.Is(err, kling.ErrNotFound), errors.Is(err, kling.ErrInvalid):
		return q.conclude(ctx, l, lookupUnknown, false)
	case errors.Is(err, kling.ErrNeedsAPIKey), kling.AboutJobs(err):
		// Kling may know it, and cannot be understood or may not tell.
		q.w.cfg.Log.Warn("look-up without a clear answer", zap.String("job_id", l.JobID), zap.Error(err))
		return q.conclude(ctx, l, lookupUnclear, true)
	}
	return err
}

// conclude notes a look-up. A job that is not settled by it, and of which nothing
// was heard for too long, is lost.
func (q *inquirer) conclude(ctx context.Context, l store.Lookup, outcome string, settled bool) error {
	now := q.w.cfg.Now()
	q.w.metrics.lookups.WithLabelValues(outcome).Inc()
	if l.Known && !settled && now.Sub(l.HeardAt) >= q.GiveUp {
		q.w.metrics.lookups.WithLabelValues(lookupLost).Inc()
		if err := q.lose(ctx, l, now); err != nil {
			return err
		}
	}
	return q.w.cfg.Store.LookedUp(ctx, l, now.Add(q.wait(l.Asked+1)))
}

// wait is how long a job is left alone after it was asked about this often without
// news.
func (q *inquirer) wait(asked int) time.Duration {
	wait := q.After
	for ; asked > 0 && wait < lookupCap; asked-- {
		wait *= 2
	}
	return min(wait, max(lookupCap, q.After))
}

// take puts what Kling answered on the way that a webhook goes. An answer that says
// what the one before it said is the same event.
func (q *inquirer) take(ctx context.Context, job kling.Job) error {
	ev, err := LookupEvent(job, q.w.cfg.Now())
	if err != nil {
		// Kling has another word for how the job is than those that are known.
		q.w.cfg.Log.Warn("answer of a look-up cannot be used", zap.String("job_id", job.ID), zap.Error(err))
		return nil
	}
	return q.w.enqueue(ctx)(tasks.RecordEvent(ev))
}

// lose gives a job up. Whatever is heard of it later counts.
func (q *inquirer) lose(ctx context.Context, l store.Lookup, now time.Time) error {
	body, err := json.Marshal(map[string]any{"id": l.JobID, "status": string(tasks.StatusLost), "update_time": now.UnixMilli()})
	if err != nil {
		return fmt.Errorf("encode event: %w", err)
	}
	q.w.cfg.Log.Warn("job is lost: nothing was heard of it for too long", zap.String("job_id", l.JobID), zap.Time("heard_at", l.HeardAt))
	return q.w.enqueue(ctx)(tasks.RecordEvent(tasks.Event{
		// Once for each time that the job went silent.
		ID:     tasks.EventID(tasks.SourceLookup, fmt.Sprintf("%s lost %d", l.JobID, l.HeardAt.UnixMilli()), nil),
		Source: tasks.SourceLookup, Type: tasks.TypeLost, JobID: l.JobID, ReceivedAt: now.UTC(), Body: body,
	}))
}

// LookupEvent returns the event that Kling's answer to a look-up makes, at the time
// when it came. Its error says that the answer tells nothing of the job.
func LookupEvent(job kling.Job, at time.Time) (tasks.Event, error) {
	identity, err := source.Lookup().Identify(http.Header{}, job.Raw)
	if err != nil {
		return tasks.Event{}, fmt.Errorf("read answer about job %s: %w", job.ID, err)
	}
	return tasks.Event{
		ID:     tasks.EventID(tasks.SourceLookup, "", job.Raw),
		Source: tasks.SourceLookup, Type: identity.Type, JobID: identity.JobID, ReceivedAt: at.UTC(), Body: job.Raw,
	}, nil
}
