package process

import (
	"container/list"
	"net"
	"net/http"
	"sync"
)

const (
	// maxWaiting is the most connections of a public listener that wait for headers: of
	// their first request or of the next one. net/http needs up to 150 KiB for the headers
	// of one.
	maxWaiting = 256
	// maxBusy is the most connections that have a request.
	maxBusy = 640
)

// crowd bounds the connections of a public listener, and with them its memory and file
// descriptors. One too many closes the one that has waited, or had its request, for the
// longest time: an honest sender sends all at once.
type crowd struct {
	maxWaiting, maxBusy int

	mu            sync.Mutex // guards the fields below
	waiting, busy *list.List // of net.Conn, the oldest first
	places        map[net.Conn]*list.Element
}

// newCrowd returns a crowd for a process that may open this many files.
func newCrowd(files int) *crowd {
	return &crowd{
		maxWaiting: min(maxWaiting, files/3), maxBusy: min(maxBusy, files/3),
		waiting: list.New(), busy: list.New(), places: map[net.Conn]*list.Element{},
	}
}

// changed is an [http.Server]'s ConnState.
func (c *crowd) changed(conn net.Conn, state http.ConnState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if place := c.places[conn]; place != nil {
		c.waiting.Remove(place) // it is in one of them, or in none
		c.busy.Remove(place)
	}
	switch state {
	case http.StateNew, http.StateIdle:
		c.places[conn] = c.waiting.PushBack(conn)
		closeOldest(c.waiting, c.maxWaiting)
	case http.StateActive:
		c.places[conn] = c.busy.PushBack(conn)
		closeOldest(c.busy, c.maxBusy)
	case http.StateHijacked, http.StateClosed:
		delete(c.places, conn)
	}
}

// closeOldest closes a connection if there are more than most.
func closeOldest(conns *list.List, most int) {
	if conns.Len() > most {
		conn, _ := conns.Remove(conns.Front()).(net.Conn)
		_ = conn.Close() // its state becomes closed
	}
}
