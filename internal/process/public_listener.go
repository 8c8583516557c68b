package process

import (
	"bytes"
	"container/list"
	"net"
	"net/http"
	"sync"
)

const (
	// maxSilent limits the connections of a public listener that have sent nothing of
	// their next request. net/http needs about 15 KiB for each.
	maxSilent = 1024
	// maxReading limits those that have sent only part of their headers. net/http needs up
	// to 150 KiB for each. An honest client sends all headers at once.
	maxReading = 64
)

// publicListener limits the connections that wait for their client to send headers: above
// the limit it closes the one that has waited longest. The handler limits connections
// whose headers have arrived.
type publicListener struct {
	net.Listener
	maxSilent, maxReading int

	mu              sync.Mutex // guards the lists and the places of their connections
	silent, reading *list.List // of *publicConn, the oldest first
}

// newPublicListener returns a publicListener for a process that may open this many files.
func newPublicListener(l net.Listener, files int) *publicListener {
	return &publicListener{
		Listener: l, maxSilent: min(maxSilent, files/3), maxReading: min(maxReading, files/6),
		silent: list.New(), reading: list.New(),
	}
}

// publicConn is a connection of a publicListener.
type publicConn struct {
	net.Conn
	listener *publicListener
	in       *list.List // nil if it does not wait for headers
	place    *list.Element
}

// Accept implements [net.Listener].
func (c *publicListener) Accept() (net.Conn, error) {
	conn, err := c.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &publicConn{Conn: conn, listener: c}, nil
}

// Read notes when headers begin to arrive.
func (c *publicConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n > 0 && !bytes.Contains(p[:n], []byte("\r\n\r\n")) { // after complete headers it is soon active
		c.listener.reads(c)
	}
	return n, err
}

// CloseWrite lets net/http close a connection without losing the answer while the client
// still sends.
func (c *publicConn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

// reads notes that a silent connection has sent part of its headers.
func (c *publicListener) reads(conn *publicConn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if conn.in == c.silent {
		c.move(conn, c.reading, c.maxReading)
	}
}

// changed is the ConnState hook of an [http.Server].
func (c *publicListener) changed(rwc net.Conn, state http.ConnState) {
	conn, ok := rwc.(*publicConn)
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

// move moves a connection to the end of a list, or to none, and closes the list's first
// connection if there are more than limit.
func (c *publicListener) move(conn *publicConn, to *list.List, limit int) {
	if conn.in != nil {
		conn.in.Remove(conn.place)
	}
	conn.in = to
	if to == nil {
		return
	}
	conn.place = to.PushBack(conn)
	if oldest, ok := to.Front().Value.(*publicConn); ok && to.Len() > limit {
		c.move(oldest, nil, 0)
		_ = oldest.Close() // net/http then reports StateClosed
	}
}
