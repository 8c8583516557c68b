package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	webhookPath = "/webhooks/klingai"
	secret      = "bench-secret-of-32-letters-or-so"
	// requestTimeout bounds the wait for an answer.
	requestTimeout = 30 * time.Second
)

//go:embed wrk.lua
var wrkScript []byte

// jobID is the job of the i-th event, which has no other.
func jobID(i int) string { return fmt.Sprintf("vid_bench_%09d", i) }

// body returns the i-th event: 550 bytes, and different from all others.
func body(i int) []byte {
	prompt := strings.Repeat("A lighthouse at dawn, slow pan over calm water. ", 5)
	return fmt.Appendf(nil, `{"event":"video.processing","timestamp":"2026-01-15T10:30:00Z","data":{"job_id":%q,"status":"processing",`+
		`"progress":42,"duration":5,"model":"kling-v1.5","created_at":"2026-01-15T10:25:00Z","prompt":%q},"request_id":"%073x"}`, jobID(i), prompt, i)
}

func sign(body []byte) string {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write(body)
	return "sha256=" + hex.EncodeToString(mac.Sum(nil))
}

// requests is a file of signed requests as they go over the wire, all of one length.
type requests struct {
	path          string
	count, length int
}

// writeRequests writes the first count events to a file.
func writeRequests(path string, count int) (r requests, err error) {
	file, err := os.Create(path)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	out := bufio.NewWriterSize(file, 1<<20)
	r = requests{path: path, count: count}
	for i := range count {
		b := body(i)
		r.length, err = fmt.Fprintf(out, "POST %s HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: %d\r\nX-Kling-Signature: %s\r\n\r\n%s",
			webhookPath, len(b), sign(b), b)
		if err != nil {
			return r, err
		}
	}
	return r, out.Flush()
}

// wrkResult is what wrk.lua prints.
type wrkResult struct {
	Requests, Errors, Repeated int
	Us, P50, P99               float64 // microseconds
}

// saturate runs wrk with n requests from the first on: each connection sends its next
// request when the last one is answered. Any error or other status than 200 fails.
func saturate(ctx context.Context, url string, r requests, first, n, connections int, d time.Duration) (wrkResult, error) {
	script := r.path + ".lua"
	if err := os.WriteFile(script, wrkScript, 0o600); err != nil {
		return wrkResult{}, err
	}
	threads := min(connections, runtime.NumCPU())
	cmd := exec.CommandContext(ctx, "wrk", "-t", strconv.Itoa(threads), "-c", strconv.Itoa(connections),
		"-d", fmt.Sprintf("%ds", int(d.Seconds())), "--timeout", fmt.Sprintf("%ds", int(requestTimeout.Seconds())), "-s", script, url,
		"--", r.path, strconv.Itoa(r.length), strconv.Itoa(first), strconv.Itoa(n), strconv.Itoa(threads))
	out, err := cmd.CombinedOutput()
	if err != nil {
		return wrkResult{}, fmt.Errorf("wrk: %w:\n%s", err, out)
	}
	return readWrk(out)
}

func readWrk(out []byte) (result wrkResult, err error) {
	_, line, found := bytes.Cut(out, []byte("\nresult "))
	if !found {
		return result, fmt.Errorf("wrk printed no result:\n%s", out)
	}
	if err := json.Unmarshal(line, &result); err != nil {
		return result, fmt.Errorf("wrk's result: %w", err)
	}
	if result.Requests == 0 || result.Errors > 0 {
		return result, fmt.Errorf("%d requests answered, %d failed:\n%s", result.Requests, result.Errors, out)
	}
	return result, nil
}

// post sends the i-th event, which must be answered with 200.
func post(ctx context.Context, client *http.Client, url string, i int) (err error) {
	b := body(i)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(b))
	if err != nil {
		return err
	}
	req.Header.Set("X-Kling-Signature", sign(b))
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, resp.Body.Close()) }()
	text, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %.200s", resp.Status, text)
	}
	return err
}

// postAll sends the first n events.
func postAll(ctx context.Context, url string, n int) error {
	const connections = 64
	client := &http.Client{Timeout: requestTimeout, Transport: &http.Transport{MaxIdleConnsPerHost: connections}}
	defer client.CloseIdleConnections()
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(connections)
	for i := range n {
		group.Go(func() error { return post(ctx, client, url, i) })
	}
	return group.Wait()
}
