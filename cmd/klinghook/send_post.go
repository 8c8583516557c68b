package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/time/rate"
)

const (
	// lanesAtOnce is how many jobs are sent side by side.
	lanesAtOnce = 16
	// listedAtMost is up to how many deliveries each gets a line.
	listedAtMost = 20
)

// tally counts what the deliveries were answered with.
type tally struct {
	mu      sync.Mutex // guards what follows
	sent    int
	answers map[string]int
	// complaint is the first answer's text that was not 200.
	complaint string
}

// post sends every lane's deliveries, in the lane's order, and reports the
// answers. It fails when one was not 200.
func post(ctx context.Context, out io.Writer, lanes [][]delivery, o sendOptions) error {
	total := 0
	for _, lane := range lanes {
		total += len(lane)
	}
	limiter := rate.NewLimiter(rate.Inf, 1)
	if o.rate > 0 {
		limiter = rate.NewLimiter(rate.Limit(o.rate), 1)
	}
	client := &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: lanesAtOnce}}
	defer client.CloseIdleConnections()
	t := &tally{answers: map[string]int{}}
	start := time.Now()
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(lanesAtOnce)
	for _, lane := range lanes {
		group.Go(func() error {
			for _, d := range lane {
				if err := limiter.Wait(ctx); err != nil {
					return err
				}
				if err := t.post(ctx, client, o.url, d, func(line string) {
					if total <= listedAtMost {
						fmt.Fprintln(out, line)
					}
				}); err != nil {
					return err
				}
			}
			return nil
		})
	}
	err := group.Wait()
	return errors.Join(err, t.report(out, o.url, time.Since(start)))
}

// post sends one delivery. A delivery that cannot be posted at all ends the
// sending, for the next would fare no better.
func (t *tally) post(ctx context.Context, client *http.Client, url string, d delivery, print func(string)) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(d.body))
	if err != nil {
		return fmt.Errorf("post delivery: %w", err)
	}
	req.Header = d.header.Clone()
	start := time.Now()
	res, err := client.Do(req)
	if err != nil {
		return fmt.Errorf("post delivery: %w", err)
	}
	defer func() { _ = res.Body.Close() }()
	answer, err := io.ReadAll(io.LimitReader(res.Body, 4<<10))
	if err != nil {
		return fmt.Errorf("read answer: %w", err)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.sent++
	t.answers[res.Status]++
	text := strings.TrimSpace(string(answer))
	if res.StatusCode != http.StatusOK && t.complaint == "" {
		t.complaint = text
	}
	print(fmt.Sprintf("%-8s %-18s %-24s %6s  %s", res.Status, d.eventType, d.jobID, time.Since(start).Round(100*time.Microsecond), oneLine(text)))
	return nil
}

// report prints the sums, and returns an error when something was refused.
func (t *tally) report(out io.Writer, url string, took time.Duration) error {
	var parts []string
	for _, status := range slices.Sorted(maps.Keys(t.answers)) {
		parts = append(parts, fmt.Sprintf("%d × %s", t.answers[status], status))
	}
	fmt.Fprintf(out, "sent %d to %s in %s: %s\n", t.sent, url, took.Round(time.Millisecond), strings.Join(parts, ", "))
	if refused := t.sent - t.answers["200 OK"]; refused > 0 {
		return fmt.Errorf("%d of %d deliveries were not answered with 200: %s", refused, t.sent, oneLine(t.complaint))
	}
	return nil
}
