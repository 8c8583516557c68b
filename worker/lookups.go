package worker

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/klinghook/klinghook/internal/kling"
	"github.com/klinghook/klinghook/internal/store"
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
	// lookupRound is how long one go may take before others have their turn.
	lookupRound = 10 * time.Second
	// lookupAgain is how soon a job is due again, at the latest, when Kling failed; later
	// for one of which nothing was heard for long, by the lookupShare of that.
	lookupAgain = time.Minute
	lookupShare = 32
	// lookupCap is the longest wait between two look-ups of a job.
	lookupCap = 24 * time.Hour
)

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
	// rounds is how often jobs were asked about.
	rounds int
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
// fleet does, or Kling wants to be left alone. A running Worker does so by itself.
func (w *Worker) LookUp(ctx context.Context) error {
	if w.inquirer == nil {
		return errors.New("look jobs up: no credentials for Kling's API")
	}
	return w.inquirer.inTurn(ctx)
}

// ask asks once about the jobs that are due.
func (q *inquirer) ask(ctx context.Context) error {
	now := q.w.cfg.Now()
	known, err := q.w.cfg.Store.RequestedLookups(ctx, store.RequestFilter{Known: true, Now: now, Limit: lookupBatch})
	if err != nil {
		return err
	}
	// Of jobs that were only named there may be any number, made up by somebody: the
	// latest take turns with the oldest, so that there is no waiting for all of them.
	q.rounds++
	named, err := q.w.cfg.Store.RequestedLookups(ctx, store.RequestFilter{Newest: q.rounds%2 == 0, Now: now, Limit: lookupBatch})
	if err != nil {
		return err
	}
	stale, err := q.w.cfg.Store.StaleJobs(ctx, now.Add(-q.After), now, lookupBatch)
	if err != nil {
		return err
	}
	return q.askAbout(ctx, inOrder(known, stale, named))
}

// inOrder returns whom to ask about first: those that were asked for and those of
// which nothing was heard, in turns, so that neither wait for the other, and of those
// that were only named one to eight of the others. Each comes once.
func inOrder(known, stale, named []store.Lookup) []store.Lookup {
	var order []store.Lookup
	seen := make(map[string]bool)
	next := func(list *[]store.Lookup) {
		if len(*list) == 0 {
			return
		}
		if l := (*list)[0]; !seen[l.JobID] {
			seen[l.JobID] = true
			order = append(order, l)
		}
		*list = (*list)[1:]
	}
	for turn := 1; len(known)+len(stale)+len(named) > 0; turn++ {
		next(&known)
		next(&stale)
		if turn%4 == 0 || len(known)+len(stale) == 0 {
			next(&named)
		}
	}
	return order
}

// askAbout asks about each job once, until lookupRound is over: what is due then may
// be another's turn. Those of the new API, and those of which that is not known, are
// asked for together.
func (q *inquirer) askAbout(ctx context.Context, due []store.Lookup) error {
	began := q.w.cfg.Now()
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
		return err
	}
	for _, l := range append(single, missing...) {
		if q.w.cfg.Now().Sub(began) > lookupRound {
			return nil
		}
		job, err := q.find(ctx, l)
		if err != nil && !q.about(err) {
			return q.rest(ctx, err, l)
		}
		if err := q.settle(ctx, l, &job, err); err != nil {
			return err
		}
	}
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
	refused := askErr != nil && !q.about(askErr)
	var unasked []store.Lookup
	for _, l := range list {
		job := found[l.JobID]
		switch {
		case job != nil:
			err = q.settle(ctx, l, job, nil)
		case refused:
			unasked = append(unasked, l)
		case l.API == "":
			missing = append(missing, l)
		default:
			err = q.settle(ctx, l, nil, cmp.Or(askErr, kling.ErrNotFound))
		}
		if err != nil {
			return nil, err
		}
	}
	if refused {
		return nil, q.rest(ctx, askErr, unasked...)
	}
	return missing, nil
}

// about reports whether an error is about the jobs that were asked for, and not about
// Kling or the way to it.
func (q *inquirer) about(err error) bool {
	return kling.AboutJobs(err) || errors.Is(err, kling.ErrNeedsAPIKey)
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
// failure to failure. The jobs that were asked for then are due again, but after
// others, and not all at once: it may be one of them that Kling has trouble with. One
// of which nothing was heard for a day longer than a job is waited for, or for twice as
// long, is waited for no more, though Kling may only be down.
func (q *inquirer) rest(ctx context.Context, err error, about ...store.Lookup) error {
	now := q.w.cfg.Now()
	pause := max(kling.WaitOf(err), lookupEvery<<min(q.failures, 10))
	q.failures++
	q.quietUntil = now.Add(min(pause, q.After))
	err = fmt.Errorf("ask Kling: %w", err)
	for _, l := range about {
		silent := now.Sub(l.HeardAt)
		if silent >= q.GiveUp+min(q.GiveUp, lookupCap) {
			err = errors.Join(err, q.conclude(ctx, l, lookupUnclear, false))
			continue
		}
		again := max(min(q.After, lookupAgain), min(silent/lookupShare, lookupCap))
		err = errors.Join(err, q.w.cfg.Store.PostponeLookup(ctx, l, now.Add(mathrand.N(again))))
	}
	return err
}
