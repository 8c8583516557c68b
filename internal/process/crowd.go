package process

import (
	"container/list"
	"net"
	"net/http"
	"sync"
)

const (
	// maxSilent is the most connections of a public listener that have sent nothing of
	// their next request. net/http needs about 15 KiB for each.
	maxSilent = 1024
	// maxReading is the most that have sent a part of their headers, for which net/http
	// needs up to 150 KiB. An honest client sends all of them at once.
	maxReading = 64
)

// crowd is a public listener. It bounds the connections that wait for their client to
// send headers: one too many closes the one that has waited longest. A connection whose
// headers have arrived is the handler's to bound.
type crowd struct {
	net.Listener
	maxSilent, maxReading int

	mu              sync.Mutex // guards the lists and the places of their connections
	silent, reading *list.List // of *crowdConn, the oldest first
}

// newCrowd returns a crowd for a process that may open this many files.
func newCrowd(l net.Listener, files int) *crowd {
	return &crowd{
		Listener: l, maxSilent: min(maxSilent, files/3), maxReading: min(maxReading, files/6),
		silent: list.New(), reading: list.New(),
	}
}

// crowdConn is a connection of a crowd.
type crowdConn struct {
	net.Conn
	crowd *crowd
	in    *list.List // nil if it does not wait for headers
	place *list.Element
}

// Accept implements [net.Listener].
func (c *crowd) Accept() (net.Conn, error) {
	conn, err := c.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &crowdConn{Conn: conn, crowd: c}, nil
}

// Read notes when headers begin to arrive.
func (c *crowdConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n > 0 {
		c.crowd.begun(c)
	}
	return n, err
}

// CloseWrite lets net/http close a connection whose client still sends without losing
// the answer.
func (c *crowdConn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

func (c *crowd) begun(conn *crowdConn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if conn.in == c.silent {
		c.move(conn, c.reading, c.maxReading)
	}
}

// changed is an [http.Server]'s ConnState.
func (c *crowd) changed(rwc net.Conn, state http.ConnState) {
	conn, ok := rwc.(*crowdConn)
	if !ok {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if state == http.StateNew || state == http.StateIdle {
		c.move(conn, c.silent, c.maxSilent)
	} else {
		c.move(conn, nil, 0)
	}
}

// move puts a connection last into a list, or into none, and closes the first one if
// there are more than most.
func (c *crowd) move(conn *crowdConn, to *list.List, most int) {
	if conn.in != nil {
		conn.in.Remove(conn.place)
	}
	conn.in = to
	if to == nil {
		return
	}
	conn.place = to.PushBack(conn)
	if oldest, ok := to.Front().Value.(*crowdConn); ok && to.Len() > most {
		c.move(oldest, nil, 0)
		_ = oldest.Close() // its state becomes closed
	}
}
