package load

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"time"

	vegeta "github.com/tsenart/vegeta/v12/lib"

	"github.com/klinghook/klinghook/bench/internal/stats"
)

//go:embed wrk.lua
var wrkScript []byte

// Result is what a load came to.
type Result struct {
	// Requests were sent in Duration; Errors of them were answered with another
	// status than 200, or not at all.
	Requests, Errors int64
	Duration         time.Duration
	// Latencies are those of the requests: from when each was to be sent at a
	// constant rate, from when it was sent else.
	Latencies *stats.Latencies
	// FromSending are, at a constant rate, the latencies from when each was sent.
	FromSending *stats.Latencies
	// Repeated says that there were not enough requests, and some were sent again.
	Repeated bool
	// Failure is one of the errors, in words.
	Failure string
}

// Rate is how many requests a second were answered with 200.
func (r Result) Rate() float64 {
	if r.Duration <= 0 {
		return 0
	}
	return float64(r.Requests-r.Errors) / r.Duration.Seconds()
}

// Tool is the program that saturates.
func Tool() string {
	if _, err := exec.LookPath("wrk"); err != nil {
		return "vegeta, with as many workers (wrk is not installed)"
	}
	return "wrk"
}

// Saturate keeps a number of connections busy for a time: each sends its next
// request when the last one is answered.
func Saturate(ctx context.Context, url string, span Span, connections int, d time.Duration) (Result, error) {
	wrk, err := exec.LookPath("wrk")
	if err != nil {
		return saturateWithVegeta(ctx, url, span, connections, d)
	}
	dir, err := os.MkdirTemp("", "klinghook-bench-wrk-")
	if err != nil {
		return Result{}, err
	}
	defer func() { _ = os.RemoveAll(dir) }() // what is left is in the temporary folder
	script := filepath.Join(dir, "wrk.lua")
	if err := os.WriteFile(script, wrkScript, 0o600); err != nil {
		return Result{}, err
	}
	threads := min(connections, runtime.NumCPU())
	ctx, cancel := context.WithTimeout(ctx, d+requestTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, wrk, "-t", strconv.Itoa(threads), "-c", strconv.Itoa(connections),
		"-d", fmt.Sprintf("%ds", max(1, int(d.Round(time.Second).Seconds()))), "--timeout", fmt.Sprintf("%ds", int(requestTimeout.Seconds())), "-s", script, url,
		"--", span.Path, strconv.Itoa(span.Length), strconv.Itoa(span.From), strconv.Itoa(span.N), strconv.Itoa(threads))
	out, err := cmd.CombinedOutput()
	if err != nil {
		return Result{}, fmt.Errorf("wrk: %w:\n%s", err, out)
	}
	return readWrk(out)
}

// readWrk reads what the script prints at the end.
func readWrk(out []byte) (Result, error) {
	_, line, found := bytes.Cut(out, []byte("\nresult "))
	if !found {
		return Result{}, fmt.Errorf("wrk printed no result:\n%s", out)
	}
	var r struct {
		Requests, Us, Connect, Read, Write, Status, Timeout, Again int64
		Latencies                                                  [][2]int64
	}
	if err := json.Unmarshal(line, &r); err != nil {
		return Result{}, fmt.Errorf("read what wrk printed: %w", err)
	}
	result := Result{
		Duration: time.Duration(r.Us) * time.Microsecond, Latencies: stats.NewLatencies(), Repeated: r.Again > 0,
		// Of these, only those with another status are among the requests that wrk counts.
		Requests: r.Requests + r.Connect + r.Write + r.Timeout,
		Errors:   r.Status + r.Connect + r.Write + r.Timeout,
	}
	for _, l := range r.Latencies {
		result.Latencies.Add(time.Duration(l[0])*time.Microsecond, l[1])
	}
	if result.Errors > 0 || r.Read > 0 {
		result.Failure = fmt.Sprintf("%d of another status, %d connections failed, %d reads, %d writes, %d time-outs", r.Status, r.Connect, r.Read, r.Write, r.Timeout)
	}
	if r.Requests == 0 {
		return result, errors.New("no request was answered")
	}
	return result, nil
}

// saturateWithVegeta lets vegeta send as fast as its workers can.
func saturateWithVegeta(ctx context.Context, url string, span Span, connections int, d time.Duration) (Result, error) {
	attacker := vegeta.NewAttacker(vegeta.Workers(uint64(connections)), vegeta.MaxWorkers(uint64(connections)),
		vegeta.Connections(connections), vegeta.Timeout(requestTimeout))
	return attack(ctx, attacker, vegeta.Rate{}, url, span, d)
}
