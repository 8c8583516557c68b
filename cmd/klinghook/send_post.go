package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/time/rate"

	"github.com/klinghook/klinghook/cmd/internal/terminal"
)

const (
	// lanesAtOnce is how many lanes are sent side by side.
	lanesAtOnce = 16
	// listedAtMost is up to how many deliveries each gets a line.
	listedAtMost = 20
	// answerWithin is how long a delivery may wait for its answer.
	answerWithin = 30 * time.Second
	// parting is how long deliveries in hand may take once the sending is over.
	parting = 2 * time.Second
)

// poster posts deliveries and counts the answers.
type poster struct {
	out       io.Writer
	screen    *terminal.Screen
	target    *url.URL
	writer    deliveryWriter
	perSecond float64 // 0 is no limit
	// secretFrom is where the writer's secret is from, empty when it does not
	// sign; secretSetting is where ingest has its own.
	secretFrom, secretSetting string

	client http.Client
	total  int

	// bar stands in for the lines where there are too many.
	bar *terminal.Bar // nil where there are few

	mu      sync.Mutex // guards what follows
	sent    int
	answers map[string]int
	// refusal is the first answer that was not 200.
	refusal string
}

// post sends every lane's deliveries, in the lane's order, and reports the
// answers. It fails when one was not 200.
func (p *poster) post(ctx context.Context, lanes [][]delivery) error {
	p.answers = map[string]int{}
	for _, lane := range lanes {
		p.total += len(lane)
	}
	limiter := rate.NewLimiter(rate.Inf, 1)
	if p.perSecond > 0 {
		limiter = rate.NewLimiter(rate.Limit(p.perSecond), 1)
	}
	p.openClient()
	defer p.client.CloseIdleConnections()
	if p.total > listedAtMost {
		p.bar = p.screen.Bar("sent", countText)
		defer p.bar.End()
		p.bar.Set(0, int64(p.total))
	}

	start := time.Now()
	group, sending := errgroup.WithContext(ctx)
	group.SetLimit(lanesAtOnce)
	// What is in hand when the sending ends is let finish, so that it is counted.
	posting, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	defer context.AfterFunc(sending, func() {
		select {
		case <-time.After(parting):
			cancel()
		case <-posting.Done():
		}
	})()
	for _, lane := range lanes {
		group.Go(func() error {
			for _, d := range lane {
				if err := limiter.Wait(sending); err != nil {
					return err
				}
				if err := p.postOne(posting, d); err != nil {
					return err
				}
			}
			return nil
		})
	}
	err := group.Wait()
	if p.bar != nil {
		p.bar.End()
	}
	if ctx.Err() != nil {
		err = fmt.Errorf("interrupted: %d of %d deliveries were sent", p.sent, p.total)
	}
	return errors.Join(p.report(time.Since(start)), err)
}

// openClient makes the client that posts. As a sender of webhooks it follows no
// redirect.
func (p *poster) openClient() {
	p.client = http.Client{
		Timeout:       answerWithin,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	if transport, ok := http.DefaultTransport.(*http.Transport); ok {
		transport = transport.Clone()
		transport.MaxIdleConnsPerHost = lanesAtOnce
		p.client.Transport = transport
	}
}

// postOne sends one delivery. A delivery that cannot be posted at all ends the
// sending, for the next would fare no better.
func (p *poster) postOne(ctx context.Context, d delivery) error {
	header, body, err := p.writer.write(d)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.target.String(), bytes.NewReader(body))
	if err != nil {
		return p.unreachable(err)
	}
	req.Header = header
	start := time.Now()
	res, err := p.client.Do(req)
	if err != nil {
		return p.unreachable(err)
	}
	defer func() { _ = res.Body.Close() }() // only read from
	answer, err := io.ReadAll(io.LimitReader(res.Body, 4<<10))
	if err != nil {
		return p.unreachable(err)
	}
	p.count(d, res, strings.TrimSpace(string(answer)), time.Since(start))
	return nil
}

// count notes an answer, and prints it when there are few.
func (p *poster) count(d delivery, res *http.Response, answer string, took time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sent++
	p.answers[res.Status]++
	answer = oneLine(answer)
	if res.StatusCode != http.StatusOK && p.refusal == "" {
		p.refusal = strings.TrimSpace(res.Status + " " + cut(answer, 200))
		if res.StatusCode == http.StatusUnauthorized && p.secretFrom != "" {
			p.refusal += fmt.Sprintf("; signed with the secret from %s, which is not in the receiver's %s", p.secretFrom, p.secretSetting)
		}
	}
	if p.bar != nil {
		p.bar.Set(int64(p.sent), int64(p.total))
	} else {
		fmt.Fprintf(p.out, "%-8s %-18s %-24s %6s  %s\n", res.Status, d.eventType, d.jobID, took.Round(100*time.Microsecond), cut(answer, 200))
	}
}

// report prints the sums, and returns an error when something was refused.
func (p *poster) report(took time.Duration) error {
	if p.sent == 0 {
		return nil
	}
	var parts []string
	for _, status := range slices.Sorted(maps.Keys(p.answers)) {
		parts = append(parts, fmt.Sprintf("%d × %s", p.answers[status], status))
	}
	fmt.Fprintf(p.out, "sent %d to %s in %s: %s\n", p.sent, p.shown(), took.Round(time.Millisecond), strings.Join(parts, ", "))
	if refused := p.sent - p.answers["200 OK"]; refused > 0 {
		return fmt.Errorf("%d of %d deliveries were not answered with 200: %s", refused, p.sent, p.refusal)
	}
	return nil
}

// shown is the target without what may be secret in it.
func (p *poster) shown() string {
	return (&url.URL{Scheme: p.target.Scheme, Host: p.target.Host, Path: p.target.Path}).String()
}

// unreachable says in few words why a delivery could not be posted. The errors of
// net/http hold the whole URL.
func (p *poster) unreachable(err error) error {
	var withURL *url.Error
	if errors.As(err, &withURL) {
		err = withURL.Err
	}
	reason := err.Error()
	var timeout net.Error
	var dns *net.DNSError
	var errno syscall.Errno
	switch {
	case errors.As(err, &dns):
		reason = dns.Err
	case errors.As(err, &timeout) && timeout.Timeout():
		reason = fmt.Sprintf("no answer within %s", answerWithin)
	case errors.As(err, &errno):
		reason = errno.Error()
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		reason = "the connection was closed without an answer"
	}
	return fmt.Errorf("post to %s: %s; is `klinghook dev` or klinghook-ingest running there? --url names another address", p.shown(), reason)
}
