package simulate

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"sync"
	"time"
)

const (
	// postsAtOnce bounds the callbacks under way.
	postsAtOnce = 64
	// answerWithin is how long a receiver may take. Kling's own patience is not
	// documented.
	answerWithin = 10 * time.Second
	// parting is how long callbacks under way may take once the simulator stops.
	parting = 2 * time.Second
	// maxBackoff bounds the wait before another attempt.
	maxBackoff = 10 * time.Minute
)

// courier posts callbacks, at their times.
type courier struct {
	cfg    Config
	agenda *agenda
	count  *counters
	links  links
	client *http.Client
	// settled is told of a callback to which nothing more happens.
	settled func(*callback)

	slots chan struct{}
	posts sync.WaitGroup
	// posting ends when posts are to be cut off, stopping when none may begin.
	posting, stopping context.Context
	cutOff, stop      context.CancelFunc
	loop              sync.WaitGroup
}

func newCourier(cfg Config, count *counters, l links, settled func(*callback)) *courier {
	transport := cfg.Transport
	if own, ok := http.DefaultTransport.(*http.Transport); ok && transport == nil {
		own = own.Clone()
		own.MaxIdleConnsPerHost = postsAtOnce
		transport = own
	}
	return &courier{
		cfg: cfg, agenda: newAgenda(), count: count, links: l, settled: settled, slots: make(chan struct{}, postsAtOnce),
		client: &http.Client{
			Transport: transport, Timeout: answerWithin,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
}

// start posts what is due from now on, until ctx ends or close is called.
func (c *courier) start(ctx context.Context) {
	c.posting, c.cutOff = context.WithCancel(context.WithoutCancel(ctx))
	c.stopping, c.stop = context.WithCancel(ctx)
	c.loop.Go(func() { c.agenda.run(c.stopping) })
}

// close begins no more posts, lets those under way finish for a moment, and
// returns when none is left.
func (c *courier) close() {
	if c.stop == nil {
		return // never started
	}
	c.stop()
	c.loop.Wait()
	timer := time.AfterFunc(parting, c.cutOff)
	c.posts.Wait()
	timer.Stop()
	c.cutOff()
	c.client.CloseIdleConnections()
}

// plan has a callback posted when it is due.
func (c *courier) plan(cb *callback) {
	c.agenda.add(cb.due, func() {
		select {
		case c.slots <- struct{}{}:
		case <-c.stopping.Done():
			return
		}
		c.posts.Go(func() {
			defer func() { <-c.slots }()
			c.attempt(cb)
		})
	})
}

// attempt posts a callback once, and sees to what follows.
func (c *courier) attempt(cb *callback) {
	status, err := c.post(cb)
	if c.posting.Err() != nil {
		return // cut off: what the receiver made of it is not known
	}
	delivered := err == nil && status >= 200 && status < 300
	last := cb.attempt >= c.cfg.Attempts
	c.count.posted(status, delivered, last)
	if delivered || last {
		c.settled(cb)
		return
	}
	wait := min(c.cfg.Backoff<<min(cb.attempt-1, 20), maxBackoff)
	if wait <= 0 {
		wait = maxBackoff
	}
	cb.attempt++
	cb.due = time.Now().Add(wait)
	c.plan(cb)
}

// post returns what a callback was answered with; status is 0 where it was not
// answered.
func (c *courier) post(cb *callback) (status int, err error) {
	body, err := cb.body(c.links)
	if err != nil {
		return 0, err
	}
	req, err := http.NewRequestWithContext(c.posting, http.MethodPost, cb.receiver.url, bytes.NewReader(body))
	if err != nil {
		return 0, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "klinghook-simulate")
	if err := cb.receiver.sign(req.Header, cb.id, time.Now(), body); err != nil {
		return 0, err
	}
	res, err := c.client.Do(req)
	if err != nil {
		return 0, err
	}
	defer func() { _ = res.Body.Close() }()                      // only read from
	_, _ = io.Copy(io.Discard, io.LimitReader(res.Body, 64<<10)) // so that the connection can be used again
	return res.StatusCode, nil
}
