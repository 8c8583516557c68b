package load

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"sync"
)

// Window bounds how many requests are outstanding: sent, and not yet worked on to the
// end.
type Window struct {
	size int64

	mu sync.Mutex // guards what follows
	// sent are those that were let go, done those that are worked on to the end.
	sent, done int64
	// moved is closed, and made anew, when more may be sent.
	moved chan struct{}
}

// NewWindow returns a Window for so many requests.
func NewWindow(size int) *Window { return &Window{size: int64(size), moved: make(chan struct{})} }

// Done says how many are worked on to the end by now.
func (w *Window) Done(n int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if n > w.done {
		w.done = n
		close(w.moved)
		w.moved = make(chan struct{})
	}
}

// next waits until one more may be sent and returns its number, from 0.
func (w *Window) next(ctx context.Context) (int, error) {
	for {
		w.mu.Lock()
		moved := w.moved
		if w.sent-w.done < w.size && ctx.Err() == nil {
			w.sent++
			i := int(w.sent - 1)
			w.mu.Unlock()
			return i, nil
		}
		w.mu.Unlock()
		select {
		case <-moved:
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
}

// Flow sends the requests of a span, each once, on so many connections and as fast as
// the window lets it, until ctx ends. It returns how many were answered with 200, and
// fails at the first that is not. The requests go out as they are in their file: what
// sends takes little of the processor that it shares with what it measures.
func Flow(ctx context.Context, to string, span Span, connections int, w *Window) (sent int64, err error) {
	u, err := url.Parse(to)
	if err != nil {
		return 0, err
	}
	if err := span.Open(); err != nil {
		return 0, err
	}
	defer func() { _ = span.Close() }() // it was only read
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	var mu sync.Mutex // guards sent
	for range connections {
		wg.Go(func() {
			n, err := flow(ctx, u.Host, span, w)
			mu.Lock()
			sent += n
			mu.Unlock()
			if err != nil {
				cancel(err)
			}
		})
	}
	wg.Wait()
	if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) && !errors.Is(cause, context.DeadlineExceeded) {
		return sent, cause
	}
	return sent, nil
}

// flow is Flow on one connection. What it has sent when ctx ends, it sees answered.
func flow(ctx context.Context, addr string, span Span, w *Window) (sent int64, err error) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	if err != nil {
		return 0, err
	}
	defer func() { _ = conn.Close() }() // all is answered
	answers := bufio.NewReader(conn)
	request := make([]byte, span.Length)
	for {
		i, err := w.next(ctx)
		if err != nil {
			return sent, nil // it was told to end
		}
		if i >= span.N {
			return sent, fmt.Errorf("all %d deliveries are sent", span.N)
		}
		if err := span.raw(span.From+i, request); err != nil {
			return sent, err
		}
		if _, err := conn.Write(request); err != nil {
			return sent, err
		}
		if err := answered(answers); err != nil {
			return sent, err
		}
		sent++
	}
}

// answered reads an answer, which must be 200.
func answered(from *bufio.Reader) error {
	resp, err := http.ReadResponse(from, nil)
	if err != nil {
		return err
	}
	text, err := io.ReadAll(resp.Body)
	if err := errors.Join(err, resp.Body.Close()); err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %.200s", resp.Status, text)
	}
	return nil
}
