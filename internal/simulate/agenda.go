package simulate

import (
	"container/heap"
	"context"
	"sync"
	"time"
)

// agenda runs things at their times, one after the other.
type agenda struct {
	// woken has a value when an item may have come before all others.
	woken chan struct{}

	mu    sync.Mutex // guards what follows
	items items
	added uint64
}

func newAgenda() *agenda { return &agenda{woken: make(chan struct{}, 1)} }

// add plans something that does not take long.
func (a *agenda) add(at time.Time, do func()) {
	a.mu.Lock()
	a.added++
	heap.Push(&a.items, item{at, a.added, do})
	a.mu.Unlock()
	select {
	case a.woken <- struct{}{}:
	default:
	}
}

// run does what is due until ctx ends.
func (a *agenda) run(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for ctx.Err() == nil {
		do, wait := a.next(time.Now())
		if do != nil {
			do()
			continue
		}
		timer.Reset(wait)
		select {
		case <-timer.C:
		case <-a.woken:
		case <-ctx.Done():
		}
	}
}

// next returns what is due, or how long nothing will be.
func (a *agenda) next(now time.Time) (do func(), wait time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.items) == 0 {
		return nil, time.Hour
	}
	if wait := a.items[0].at.Sub(now); wait > 0 {
		return nil, wait
	}
	due, _ := heap.Pop(&a.items).(item)
	return due.do, 0
}

// item is something planned; of those of the same time the one that was added
// first comes first.
type item struct {
	at    time.Time
	order uint64
	do    func()
}

type items []item

func (s items) Len() int { return len(s) }

func (s items) Less(i, j int) bool {
	if s[i].at.Equal(s[j].at) {
		return s[i].order < s[j].order
	}
	return s[i].at.Before(s[j].at)
}

func (s items) Swap(i, j int) { s[i], s[j] = s[j], s[i] }

func (s *items) Push(x any) {
	added, _ := x.(item)
	*s = append(*s, added)
}

func (s *items) Pop() any {
	last := len(*s) - 1
	popped := (*s)[last]
	(*s)[last] = item{}
	*s = (*s)[:last]
	return popped
}
