package process

import "net"

// unwatchedListener accepts TCP connections that are not watched while their requests are
// being handled.
type unwatchedListener struct{ net.Listener }

// Accept implements [net.Listener].
func (l unwatchedListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if tcp, ok := conn.(*net.TCPConn); ok {
		return &unwatchedConn{TCPConn: tcp}, nil
	}
	return conn, err
}

// unwatchedConn spares a server what it costs to notice that a peer goes away while its
// request is being handled. For that net/http (connReader.backgroundRead, Go 1.26) reads
// one byte in a goroutine of its own, which blocks, and which it has to interrupt for
// each answer: a tenth of what a delivery costs.
//
// The first read of one byte returns nothing and no error, by which an [io.Reader] says
// that nothing happened: net/http gives up watching, and the request's context does not
// end before its handler. Whoever needs the byte reads again, and gets it.
type unwatchedConn struct {
	*net.TCPConn      // all of it: net/http closes one direction where it can
	declined     bool // the last read; one is made at a time
}

// Read implements [net.Conn].
func (c *unwatchedConn) Read(p []byte) (int, error) {
	c.declined = len(p) == 1 && !c.declined
	if c.declined {
		return 0, nil
	}
	return c.TCPConn.Read(p)
}
