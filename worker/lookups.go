package worker

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/klinghook/klinghook/internal/kling"
	"github.com/klinghook/klinghook/internal/store"
	"github.com/klinghook/klinghook/tasks"
)

// Kling answers look-ups. [kling.API] implements it.
type Kling interface {
	Jobs(ctx context.Context, ids ...string) ([]kling.Answer, error)
	Job(ctx context.Context, id string, kinds ...kling.JobKind) (kling.Answer, error)
}

// Lookups configures look-ups of silent jobs at Kling.
type Lookups struct {
	// Kling is nil without credentials; then there are no look-ups.
	Kling Kling
	// NewAPI reports that the credentials work for the new API.
	NewAPI bool
	// After is how long an unfinished job may be silent before a look-up. The wait
	// doubles with each answer without news, up to a day. Default 15 min.
	After time.Duration
	// GiveUp is how long a job may be silent before it is lost; default 7 days.
	GiveUp time.Duration
}

const (
	// lookupEvery is how often the worker checks for jobs to ask about.
	lookupEvery = time.Second
	// lookupBatch limits the jobs of each query in one round.
	lookupBatch = 2 * kling.BatchSize
	// lookupRound is how long one round may start further requests.
	lookupRound = 10 * time.Second
	// lookupTimeout ends a round while its lease is still valid.
	lookupTimeout = lookupLeaseTime - 5*time.Second
	// lookupLeaseTime is how soon another worker takes over from one that has died.
	lookupLeaseTime = 30 * time.Second
	// After Kling fails, a job is due again within lookupAgain, or within 1/lookupShare
	// of the time that it has been silent if that is longer.
	lookupAgain = time.Minute
	lookupShare = 32
	// testAfter is how long a possible test callback waits for its look-up.
	testAfter = time.Minute
	// lookupCap is the longest wait between two look-ups of a job.
	lookupCap = 24 * time.Hour
)

// inquirer asks Kling about jobs. Only one worker of the fleet does so at a time, so that
// its client's rate limit applies to the whole fleet.
type inquirer struct {
	w *Worker
	Lookups
	name string // of this worker in the lease

	mu sync.Mutex // held during a round; guards the fields below
	// quietUntil is when Kling may be asked again after a failure; failures counts
	// consecutive failures.
	quietUntil time.Time
	failures   int
	rounds     int
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

// LookUp asks Kling once about the jobs that are due, unless another worker of the
// fleet does or Kling asked for a pause. A running Worker does so by itself.
func (w *Worker) LookUp(ctx context.Context) error {
	if w.inquirer == nil {
		return errors.New("look up jobs: no credentials for Kling's API")
	}
	return w.inquirer.inTurn(ctx)
}

// inTurn asks about the jobs that are due if this worker has the lease. It extends the
// lease until quietUntil too, while nobody asks.
func (q *inquirer) inTurn(ctx context.Context) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	mine, err := tasks.AcquireLease(ctx, q.w.cfg.Redis, tasks.LookupLease, q.name, lookupLeaseTime)
	if err != nil || !mine {
		return err
	}
	if err := tasks.NoteLookups(ctx, q.w.cfg.Redis); err != nil {
		return err
	}
	if q.w.cfg.Now().Before(q.quietUntil) {
		return nil
	}
	return q.ask(ctx)
}

// ask asks once about the jobs that are due.
func (q *inquirer) ask(ctx context.Context) error {
	now := q.w.cfg.Now()
	known, err := q.w.cfg.Store.RequestedLookups(ctx, store.RequestFilter{Platform: tasks.PlatformKling, Known: true, Now: now, Limit: lookupBatch})
	if err != nil {
		return err
	}
	// Strangers can name any number of jobs in unsigned callbacks. Every other round takes
	// the newest first, so that they do not wait for all the others.
	q.rounds++
	named, err := q.w.cfg.Store.RequestedLookups(ctx, store.RequestFilter{Platform: tasks.PlatformKling, Newest: q.rounds%2 == 0, Now: now, Limit: lookupBatch})
	if err != nil {
		return err
	}
	stale, err := q.w.cfg.Store.StaleJobs(ctx, tasks.PlatformKling, now.Add(-q.After), now, lookupBatch)
	if err != nil {
		return err
	}
	// Possible test callbacks are looked up sooner, so that people see what they were.
	tests, err := q.w.cfg.Store.PossibleTests(ctx, tasks.PlatformKling, now.Add(-min(q.After, testAfter)), now, lookupBatch)
	if err != nil {
		return err
	}
	bare, err := q.w.cfg.Store.JobsWithoutMedia(ctx, tasks.PlatformKling, now, lookupBatch)
	if err != nil {
		return err
	}
	return q.askAbout(ctx, inOrder(named, known, stale, bare, tests))
}

// inOrder merges the lists, each job once. The lists take turns; one of named, the jobs
// only named in unsigned callbacks, follows every four turns.
func inOrder(named []store.Lookup, lists ...[]store.Lookup) []store.Lookup {
	var order []store.Lookup
	seen := make(map[string]bool)
	next := func(list *[]store.Lookup) {
		if len(*list) == 0 {
			return
		}
		if lookup := (*list)[0]; !seen[lookup.Job.ID] {
			seen[lookup.Job.ID] = true
			order = append(order, lookup)
		}
		*list = (*list)[1:]
	}
	left := len(named)
	for _, list := range lists {
		left = max(left, len(list))
	}
	for turn := 1; left > 0; turn++ {
		left = 0
		for i := range lists {
			next(&lists[i])
			left = max(left, len(lists[i]))
		}
		if turn%4 == 0 || left == 0 {
			next(&named)
		}
		left = max(left, len(named))
	}
	return order
}

// askAbout asks about each job once, until lookupRound is over. Jobs of the new API,
// and those whose API is unknown, share a request.
func (q *inquirer) askAbout(ctx context.Context, due []store.Lookup) error {
	start := q.w.cfg.Now()
	var together, single []store.Lookup
	for _, lookup := range due {
		if q.NewAPI && (lookup.API == "" || lookup.API == tasks.APITasks) {
			together = append(together, lookup)
		} else {
			single = append(single, lookup)
		}
	}
	missing, err := q.askTogether(ctx, together)
	if err != nil {
		return err
	}
	for _, lookup := range append(single, missing...) {
		if q.w.cfg.Now().Sub(start) > lookupRound {
			return nil
		}
		asked := q.w.cfg.Now()
		job, err := q.askLegacy(ctx, lookup)
		lookup.Answer.At, lookup.Answer.Took = asked, q.w.cfg.Now().Sub(asked)
		if err != nil && !isAboutJobs(err) {
			return q.pause(ctx, err, lookup)
		}
		if err := q.settle(ctx, lookup, &job, err); err != nil {
			return err
		}
	}
	return nil
}

// askTogether asks the new API. It returns the jobs that may be in the legacy one.
func (q *inquirer) askTogether(ctx context.Context, list []store.Lookup) (missing []store.Lookup, err error) {
	if len(list) == 0 {
		return nil, nil
	}
	ids := make([]string, len(list))
	for i, lookup := range list {
		ids[i] = lookup.Job.ID
	}
	asked := q.w.cfg.Now()
	jobs, askErr := q.Kling.Jobs(ctx, ids...)
	took := q.w.cfg.Now().Sub(asked)
	found := make(map[string]*kling.Answer, len(jobs))
	for i := range jobs {
		found[jobs[i].ID] = &jobs[i]
	}
	refused := askErr != nil && !isAboutJobs(askErr)
	var unasked []store.Lookup
	for _, lookup := range list {
		job := found[lookup.Job.ID]
		lookup.Answer.At, lookup.Answer.Took = asked, took
		switch {
		case job != nil:
			err = q.settle(ctx, lookup, job, nil)
		case refused:
			unasked = append(unasked, lookup)
		case lookup.API == "":
			missing = append(missing, lookup)
		default:
			err = q.settle(ctx, lookup, nil, cmp.Or(askErr, kling.ErrNotFound))
		}
		if err != nil {
			return nil, err
		}
	}
	if refused {
		return nil, q.pause(ctx, askErr, unasked...)
	}
	return missing, nil
}

// isAboutJobs reports whether an error is about the requested jobs, not about Kling or
// the connection to it.
func isAboutJobs(err error) bool {
	return kling.AboutJobs(err) || errors.Is(err, kling.ErrNeedsAPIKey)
}

// askLegacy asks the legacy API for one job.
func (q *inquirer) askLegacy(ctx context.Context, lookup store.Lookup) (kling.Answer, error) {
	if lookup.API == tasks.APITasks {
		return kling.Answer{}, kling.ErrNeedsAPIKey
	}
	return q.Kling.Job(ctx, lookup.Job.ID, legacyKinds(lookup.API)...)
}

// legacyKinds returns the kinds of the legacy API that a job with this API may have.
func legacyKinds(api string) []kling.JobKind {
	if api != "" && api != tasks.APILegacy {
		return []kling.JobKind{kling.JobKind(api)}
	}
	return slices.DeleteFunc(kling.Kinds(), func(k kling.JobKind) bool { return k == kling.KindTasks })
}

// pause stops look-ups for as long as Kling's error says, and longer with each
// consecutive failure. The jobs become due again at random times, after others, because
// one of them may be the cause. A job that has been silent for GiveUp plus a day, or
// twice GiveUp if that is shorter, is lost even if Kling is only down.
func (q *inquirer) pause(ctx context.Context, err error, jobs ...store.Lookup) error {
	now := q.w.cfg.Now()
	wait := max(kling.WaitOf(err), lookupEvery<<min(q.failures, 10))
	q.failures++
	q.quietUntil = now.Add(min(wait, q.After))
	reason := err.Error()
	err = fmt.Errorf("ask Kling: %w", err)
	for _, lookup := range jobs {
		lookup.Answer.Outcome, lookup.Answer.Error = lookupFailed, reason
		silent, most := now.Sub(lookup.HeardAt), q.GiveUp+min(q.GiveUp, lookupCap)
		if lookup.NoMedia != "" {
			most = noMediaLimit
		}
		if silent >= most {
			err = errors.Join(err, q.conclude(ctx, lookup, lookupUnclear, false))
			continue
		}
		again := max(min(q.After, lookupAgain), min(silent/lookupShare, lookupCap))
		err = errors.Join(err, q.w.cfg.Store.PostponeLookup(ctx, lookup, now.Add(mathrand.N(again))))
	}
	return err
}
