package main

import "sync"

// logEnd writes what is left of the log when the process ends, by whichever way.
type logEnd struct {
	mu    sync.Mutex // guards flush
	flush func()
}

func (e *logEnd) set(flush func()) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.flush = flush
}

// write may be called more than once, and before there is a log.
func (e *logEnd) write() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.flush != nil {
		e.flush()
	}
}
