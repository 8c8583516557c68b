package process

import (
	"net"
	"net/http"
	"testing"
)

// fakeConn notes whether it was closed.
type fakeConn struct {
	net.Conn
	closed bool
}

func (c *fakeConn) Close() error { c.closed = true; return nil }

func TestCrowdClosesTheLongestWaitAndTheOldestRequest(t *testing.T) {
	c := newCrowd(9) // three waiting and three busy ones
	open := func(states ...http.ConnState) *fakeConn {
		conn := &fakeConn{}
		for _, state := range states {
			c.changed(conn, state)
		}
		return conn
	}
	const fresh, busy, idle, closed = http.StateNew, http.StateActive, http.StateIdle, http.StateClosed
	slow, served := open(fresh), open(fresh, busy, idle)
	working := open(fresh, busy)
	c.changed(served, busy)
	c.changed(served, idle)
	third := open(fresh)
	if slow.closed || served.closed || third.closed {
		t.Error("a connection was closed while there was room")
	}
	last := open(fresh)
	if !slow.closed || served.closed || last.closed {
		t.Error("the connection that has waited longest is not the one that was closed")
	}
	c.changed(slow, closed)
	if open(fresh, busy); third.closed || !served.closed {
		t.Error("a further connection did not end the next longest wait")
	}
	c.changed(served, closed)
	open(fresh, busy)
	if extra := open(fresh, busy); extra.closed || !working.closed {
		t.Error("the oldest request is not the one that was closed")
	}
	for conn := range c.places {
		c.changed(conn, closed)
	}
	if c.waiting.Len()+c.busy.Len() > 0 || len(c.places) > 0 {
		t.Errorf("%d of %d closed connections are still known", c.waiting.Len(), len(c.places))
	}
}
