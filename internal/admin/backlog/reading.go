package backlog

import (
	"errors"
	"sync"
	"time"
)

// patience is how long a scrape waits for a reading.
const patience = 3 * time.Second

var errSlow = errors.New("it takes too long to read")

// reading is what was last read of something. It is safe for concurrent use.
type reading[T any] struct {
	read func() (T, error)
	// every is how long what was read is good for.
	every time.Duration

	mu    sync.Mutex // guards what follows
	value T
	err   error
	at    time.Time
	// done is closed when the reading that is going on has ended; nil when none is.
	done chan struct{}
}

// get returns what was read at most every ago. One read at a time goes on; when it
// does not end within patience, the error is errSlow, and later calls get its end.
func (r *reading[T]) get() (T, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.at.IsZero() && time.Since(r.at) < r.every {
		return r.value, r.err
	}
	if r.done == nil {
		r.done = make(chan struct{})
		go r.run(r.done)
	}
	done := r.done
	r.mu.Unlock()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	var slow error
	select {
	case <-done:
	case <-timer.C:
		slow = errSlow
	}
	r.mu.Lock()
	if slow != nil {
		return r.value, slow
	}
	return r.value, r.err
}

func (r *reading[T]) run(done chan struct{}) {
	value, err := r.read()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.value, r.err, r.at, r.done = value, err, time.Now(), nil
	close(done)
}

// wait returns when no reading is going on.
func (r *reading[T]) wait() {
	r.mu.Lock()
	done := r.done
	r.mu.Unlock()
	if done != nil {
		<-done
	}
}
