package simulate

import (
	"container/list"
	"sync"
	"time"
)

// book is the jobs that are known.
type book struct {
	cfg Config

	mu         sync.Mutex // guards what follows
	byID       map[string]*list.Element
	byExternal map[string]*list.Element
	jobs       *list.List // of *job, in the order of creation
	settled    *list.List // of *list.Element of jobs, in the order of settling
	// created counts all jobs that ever were, open those that are in hand.
	created uint64
	open    int
}

func newBook(cfg Config) *book {
	return &book{
		cfg: cfg, byID: make(map[string]*list.Element), byExternal: make(map[string]*list.Element),
		jobs: list.New(), settled: list.New(),
	}
}

// add makes a job of an order. callbacks says how many callbacks the job will
// have; until each of them and the job's end is reported to settle, the job is
// in hand.
func (b *book) add(o order, now time.Time, callbacks func(*job) int) (*job, *fault) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.open >= b.cfg.Parallel {
		return nil, codeParallel.fault("too many tasks are in hand; wait until some have ended")
	}
	if _, taken := b.byExternal[o.externalID]; taken && o.externalID != "" {
		return nil, codeParameterValue.fault("external_task_id is taken by another task")
	}
	b.created++
	b.open++
	j := newJob(b.cfg, o, b.created, now)
	j.waiting = 1 + callbacks(j)
	e := b.jobs.PushBack(j)
	b.byID[j.id] = e
	if o.externalID != "" {
		b.byExternal[o.externalID] = e
	}
	return j, nil
}

// settle reports that n of the things that were to happen to a job have. A job
// to which nothing more happens may be forgotten.
func (b *book) settle(j *job, n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	j.waiting -= n
	if j.waiting > 0 {
		return
	}
	b.open--
	b.settled.PushBack(b.byID[j.id])
	for b.settled.Len() > b.cfg.Keep {
		oldest, _ := b.settled.Remove(b.settled.Front()).(*list.Element)
		b.forget(oldest)
	}
}

// forget is called with the lock held.
func (b *book) forget(e *list.Element) {
	j, _ := b.jobs.Remove(e).(*job)
	delete(b.byID, j.id)
	if j.externalID != "" {
		delete(b.byExternal, j.externalID)
	}
}

// find returns the job of an id; nil when there is none.
func (b *book) find(id string) *job {
	b.mu.Lock()
	defer b.mu.Unlock()
	return jobOf(b.byID[id])
}

// findExternal returns the job that was given an external id; nil when there is
// none.
func (b *book) findExternal(id string) *job {
	b.mu.Lock()
	defer b.mu.Unlock()
	return jobOf(b.byExternal[id])
}

func jobOf(e *list.Element) *job {
	if e == nil {
		return nil
	}
	j, _ := e.Value.(*job)
	return j
}

// newestFirst calls yield with each job until it returns false. Jobs do not
// change, so yield need not hurry, but it must not call the book.
func (b *book) newestFirst(yield func(*job) bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for e := b.jobs.Back(); e != nil; e = e.Prev() {
		if !yield(jobOf(e)) {
			return
		}
	}
}

// count fills in how many jobs there are of each state.
func (b *book) count(now time.Time) JobStats {
	stats := JobStats{}
	for j := range b.newestFirst {
		switch j.asOf(now).status {
		case submitted:
			stats.Submitted++
		case processing:
			stats.Processing++
		case succeeded:
			stats.Succeeded++
		case failed:
			stats.Failed++
		case cancelled:
			stats.Cancelled++
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	stats.Created = b.created
	stats.InHand = b.open
	stats.Forgotten = b.created - uint64(b.jobs.Len())
	return stats
}
