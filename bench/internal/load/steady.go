package load

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	vegeta "github.com/tsenart/vegeta/v12/lib"

	"github.com/klinghook/klinghook/bench/internal/stats"
)

// steadyConnections bounds how many connections a receiver gets that has fallen
// behind: requests wait for one, and count as waiting. A sender that opened one more
// for each of them would measure how many connections fit into a receiver's memory.
const steadyConnections = 256

// Steady sends at a constant rate, whether or not answers come. A request that is
// sent late, because this machine was busy, counts as waiting since it was due.
func Steady(ctx context.Context, url string, span Span, perSecond int, d time.Duration) (Result, error) {
	if perSecond < 1 {
		return Result{}, fmt.Errorf("a rate of %d requests a second is none", perSecond)
	}
	attacker := vegeta.NewAttacker(vegeta.Timeout(requestTimeout), vegeta.Connections(steadyConnections), vegeta.MaxConnections(steadyConnections), vegeta.MaxWorkers(1<<14))
	return attack(ctx, attacker, vegeta.Rate{Freq: perSecond, Per: time.Second}, url, span, d)
}

// attack runs vegeta. A rate of zero is as fast as it can.
func attack(ctx context.Context, attacker *vegeta.Attacker, rate vegeta.Rate, url string, span Span, d time.Duration) (Result, error) {
	if err := span.Open(); err != nil {
		return Result{}, err
	}
	defer func() { _ = span.Close() }() // it was only read
	var next atomic.Int64
	targeter := func(t *vegeta.Target) error {
		i := span.From + int(next.Add(1)-1)%span.N
		header, body, err := span.Request(i)
		t.Method, t.URL, t.Header, t.Body = http.MethodPost, url, header, body
		return err
	}
	stop := context.AfterFunc(ctx, func() { attacker.Stop() })
	defer stop()
	result := Result{Latencies: stats.NewLatencies(), FromSending: stats.NewLatencies()}
	began := time.Now()
	var ended time.Time
	for r := range attacker.Attack(targeter, rate, d, "") {
		result.Requests++
		if r.Code != http.StatusOK {
			result.Errors++
			result.Failure = r.Error
		}
		result.FromSending.Add(r.Latency, 1)
		result.Latencies.Add(r.Latency+late(began, rate, r), 1)
		if end := r.End(); end.After(ended) {
			ended = end
		}
	}
	result.Duration, result.Repeated = ended.Sub(began), next.Load() > int64(span.N)
	if result.Requests == result.Errors {
		return result, fmt.Errorf("no request was answered with 200: %s", result.Failure)
	}
	return result, ctx.Err()
}

// late is how much later than it was due a request was sent.
func late(began time.Time, rate vegeta.Rate, r *vegeta.Result) time.Duration {
	if rate.Freq == 0 {
		return 0
	}
	due := time.Duration(float64(r.Seq+1) * float64(rate.Per) / float64(rate.Freq))
	return max(r.Timestamp.Sub(began)-due, 0)
}

// SendAll sends each request of a span once, several at a time, and fails at the
// first that is not answered with 200.
func SendAll(ctx context.Context, url string, span Span, atOnce int) error {
	if err := span.Open(); err != nil {
		return err
	}
	defer func() { _ = span.Close() }() // it was only read
	transport := &http.Transport{MaxIdleConnsPerHost: atOnce}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, Timeout: requestTimeout}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var next atomic.Int64
	var wg sync.WaitGroup
	for range atOnce {
		wg.Go(func() {
			for i := int(next.Add(1) - 1); i < span.N && ctx.Err() == nil; i = int(next.Add(1) - 1) {
				header, body, err := span.Request(span.From + i)
				if err == nil {
					err = Send(ctx, client, url, header, body)
				}
				if err != nil {
					cancel(err)
				}
			}
		})
	}
	wg.Wait()
	return context.Cause(ctx)
}

// Send posts one delivery and returns once it is answered with 200.
func Send(ctx context.Context, client *http.Client, url string, header http.Header, body []byte) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header = header
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	answer, err := io.ReadAll(resp.Body)
	if err := errors.Join(err, resp.Body.Close()); err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %.200s", resp.Status, answer)
	}
	return nil
}
