package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"maps"
	mathrand "math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/klinghook/klinghook/cmd/internal/cli"
	"github.com/klinghook/klinghook/internal/simulate"
)

const (
	// lanesAtOnce is how many lanes are sent in parallel.
	lanesAtOnce = 16
	// maxListed is how many deliveries get a line each. More deliveries share a bar.
	maxListed = 20
	// sendTimeout limits one delivery.
	sendTimeout = 30 * time.Second
	// sendGrace is how long started deliveries may take after an interrupt.
	sendGrace = 2 * time.Second
)

// delivery is encoded and signed when it is posted, because signatures expire and all
// bodies together could fill the memory.
type delivery struct {
	simulate.Update
	id string // of the callback, in the official protocols
}

// plan returns the deliveries in lanes, which may be sent in parallel: one for each job,
// or one for each delivery in random order.
func (o *sendOptions) plan() [][]delivery {
	var lanes [][]delivery
	for i := range o.count {
		id := o.jobID
		switch {
		case id == "":
			id = "vid_" + randomID()
		case o.count > 1:
			id = fmt.Sprintf("%s-%d", id, i+1)
		}
		lanes = append(lanes, o.planJob(id))
	}
	if !o.shuffle {
		return lanes
	}
	all := slices.Concat(lanes...)
	mathrand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return slices.Collect(slices.Chunk(all, 1))
}

// planJob returns the deliveries of one job, whose changes are a minute apart up to now.
func (o *sendOptions) planJob(id string) []delivery {
	life := []simulate.Point{{Status: statusOf(o.event), Progress: 50}}
	switch {
	case o.fail:
		life = simulate.Life(simulate.Failed)
	case o.lifecycle:
		life = simulate.Life(simulate.Succeeded)
	}
	now := time.Now().UTC().Truncate(time.Millisecond)
	created := now.Add(-time.Duration(len(life)) * time.Minute)
	var lane []delivery
	for i, point := range life {
		d := delivery{id: "msg_" + randomID(), Update: simulate.Update{
			JobID: id, Prompt: "A lighthouse at dawn, slow pan over calm water", Model: "kling-v1.5",
			Status: point.Status, Progress: point.Progress, Event: o.event,
			Created: created, At: created.Add(time.Duration(i+1) * time.Minute),
			VideoURL: o.videoURL, ThumbnailURL: o.thumbnailURL, Seconds: 5, Videos: o.videos, NoMedia: o.noMedia,
		}}
		if o.lifecycle {
			d.Event = simulate.SeedEvent(point.Status)
		}
		lane = append(lane, slices.Repeat([]delivery{d}, o.duplicates+1)...)
	}
	return lane
}

// randomID returns 12 lower-case letters and digits.
func randomID() string { return strings.ToLower(rand.Text()[:12]) }

// poster posts deliveries and counts the answers.
type poster struct {
	out      io.Writer
	screen   *console
	target   *url.URL
	protocol simulate.CallbackFormat
	// secretFrom is where the secret comes from. Both are empty if nothing is signed.
	secret, secretFrom string

	client http.Client
	total  int
	bar    *progressBar // nil if each delivery has a line

	mu      sync.Mutex // guards the fields below
	sent    int
	answers map[string]int // by status
	refusal string         // the first answer other than 200
}

// post sends the deliveries of each lane in order, at most perSecond (0 means no limit),
// and prints the answers. It fails if one is not 200.
func (p *poster) post(ctx context.Context, lanes [][]delivery, perSecond float64) error {
	p.answers = map[string]int{}
	for _, lane := range lanes {
		p.total += len(lane)
	}
	limiter := rate.NewLimiter(rate.Inf, 1)
	if perSecond > 0 {
		limiter = rate.NewLimiter(rate.Limit(perSecond), 1)
	}
	transport := &http.Transport{MaxIdleConnsPerHost: lanesAtOnce}
	defer transport.CloseIdleConnections()
	p.client = http.Client{
		Transport: transport, Timeout: sendTimeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	if p.total > maxListed {
		p.bar = p.screen.Bar("sent", countText)
		p.bar.Set(0, int64(p.total))
	}

	start := time.Now()
	sending, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	// Started deliveries may finish, so that they are counted.
	posting, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	defer context.AfterFunc(sending, func() { time.AfterFunc(sendGrace, cancel) })()
	var group sync.WaitGroup
	places := make(chan struct{}, lanesAtOnce)
	for _, lane := range lanes {
		places <- struct{}{}
		group.Go(func() {
			defer func() { <-places }()
			for _, delivery := range lane {
				err := limiter.Wait(sending)
				if err == nil {
					err = p.postOne(posting, delivery)
				}
				if err != nil {
					fail(err)
					return
				}
			}
		})
	}
	group.Wait()
	err := context.Cause(sending)
	if p.bar != nil {
		p.bar.End()
	}
	if ctx.Err() != nil {
		err = fmt.Errorf("interrupted: %d of %d deliveries were sent", p.sent, p.total)
	}
	return errors.Join(p.report(time.Since(start)), err)
}

// postOne sends one delivery. An error stops the sending: the next delivery would fail too.
func (p *poster) postOne(ctx context.Context, d delivery) error {
	body, err := d.Body(p.protocol)
	if err != nil {
		return err
	}
	header, err := p.protocol.Sign(p.secret, d.id, time.Now(), body)
	if err != nil {
		return cli.Usagef("%w", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.target.String(), bytes.NewReader(body))
	if err != nil {
		return p.unreachable(err)
	}
	req.Header = header
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "klinghook-send")
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
	p.count(d, res, cut(oneLine(strings.TrimSpace(string(answer))), 200), time.Since(start))
	return nil
}

// count counts an answer, and prints its line or updates the bar.
func (p *poster) count(d delivery, res *http.Response, answer string, took time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sent++
	p.answers[res.Status]++
	if res.StatusCode != http.StatusOK && p.refusal == "" {
		p.refusal = strings.TrimSpace(res.Status + " " + answer)
		if res.StatusCode == http.StatusUnauthorized && p.secretFrom != "" {
			p.refusal += fmt.Sprintf("; signed with the secret from %s, which is not in the receiver's %s", p.secretFrom, protocolNamed(p.protocol).SecretSetting)
		}
	}
	if p.bar != nil {
		p.bar.Set(int64(p.sent), int64(p.total))
		return
	}
	fmt.Fprintf(p.out, "%-8s %-18s %-24s %6s  %s\n", res.Status, d.Event, d.JobID, took.Round(100*time.Microsecond), answer)
}

// report prints the totals. It fails if a delivery was not answered with 200.
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

// shown returns the target without user and query, which may be secret.
func (p *poster) shown() string {
	return (&url.URL{Scheme: p.target.Scheme, Host: p.target.Host, Path: p.target.Path}).String()
}

// unreachable wraps an error of net/http, and removes the whole URL from it.
func (p *poster) unreachable(err error) error {
	var withURL *url.Error
	if errors.As(err, &withURL) {
		err = withURL.Err
	}
	return fmt.Errorf("post to %s: %w; is `klinghook dev` or klinghook-ingest running there? --url sets another address", p.shown(), err)
}
