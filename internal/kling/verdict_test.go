package kling

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"
	"time"
)

func TestVerdict(t *testing.T) {
	code := func(status, code int) error { return &APIError{Status: status, Code: code} }
	tests := []struct {
		name string
		err  error
		want Verdict
		wait time.Duration
	}{
		{"1000", code(401, 1000), GiveUp, 0},
		{"1001", code(401, 1001), GiveUp, 0},
		{"1002", code(401, 1002), GiveUp, 0},
		{"1003", code(401, 1003), GiveUp, 0},
		{"1004", code(401, 1004), GiveUp, 0},
		{"1100", code(429, 1100), GiveUp, 0},
		{"1101", code(429, 1101), GiveUp, 0},
		{"1102", code(429, 1102), GiveUp, 0},
		{"1103", code(403, 1103), GiveUp, 0},
		{"1200", code(400, 1200), GiveUp, 0},
		{"1201", code(400, 1201), GiveUp, 0},
		{"1202", code(404, 1202), GiveUp, 0},
		{"1203", code(404, 1203), GiveUp, 0},
		{"1300", code(400, 1300), GiveUp, 0},
		{"1301", code(400, 1301), GiveUp, 0},
		{"1302", code(429, 1302), Wait, time.Second},
		{"1303", code(429, 1303), Wait, time.Second},
		{"1304", code(429, 1304), GiveUp, 0},
		{"5000", code(500, 5000), Retry, 0},
		{"5001", code(503, 5001), Retry, 0},
		{"5002", code(504, 5002), Retry, 0},
		{"429 without a code", code(429, 0), Wait, time.Second},
		{"502 without a code", code(502, 0), Retry, 0},
		{"503 with a wait", &APIError{Status: 503, RetryAfter: time.Minute}, Wait, time.Minute},
		{"a redirect", code(302, 0), GiveUp, 0},
		{"not found", ErrNotFound, GiveUp, 0},
		{"invalid", ErrInvalid, GiveUp, 0},
		{"no API key", ErrNeedsAPIKey, GiveUp, 0},
		{"not to be read", ErrUnreadable, Retry, 0},
		{"cut off", io.ErrUnexpectedEOF, Retry, 0},
		{"timed out", context.DeadlineExceeded, Retry, 0},
		{"not asked yet", &WaitError{For: 3 * time.Second}, Wait, 3 * time.Second},
		{"several", errors.Join(code(500, 5000), ErrNotFound), Retry, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := fmt.Errorf("look up: %w", tt.err)
			if got := VerdictOf(err); got != tt.want {
				t.Errorf("verdict %q, want %q", got, tt.want)
			}
			if got := WaitOf(err); got != tt.wait {
				t.Errorf("wait %s, want %s", got, tt.wait)
			}
		})
	}
}

func TestIsNotFound(t *testing.T) {
	tests := []struct {
		name string
		err  APIError
		want bool
	}{
		{"1202", APIError{Status: 404, Code: 1202}, true},
		{"1203", APIError{Status: 404, Code: 1203}, true},
		{"1203 in a 200", APIError{Status: 200, Code: 1203}, true},
		{"a relay's words", APIError{Status: 404, Message: "task not found"}, true},
		{"a page", APIError{Status: 404}, false},
		{"no such method", APIError{Status: 405, Message: "method not allowed"}, false},
		{"1201", APIError{Status: 404, Code: 1201, Message: "task not found"}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := errors.Is(fmt.Errorf("look up: %w", &tt.err), ErrNotFound); got != tt.want {
				t.Errorf("got %t", got)
			}
		})
	}
}

func TestAboutJobs(t *testing.T) {
	unknownJob := &APIError{Status: 404, Code: 1203}
	noCredit := &APIError{Status: 429, Code: 1102}
	tests := []struct {
		name string
		err  error
		want bool
	}{
		{"none", nil, false},
		{"not found", fmt.Errorf("look up job %q: %w", "a", ErrNotFound), true},
		{"an id that cannot be asked for", fmt.Errorf("look up 2 jobs: %w", fmt.Errorf("%w: %w", ErrInvalid, errors.New("an id with a comma"))), true},
		{"Kling's word of one job", unknownJob, true},
		{"Kling's word of the account", noCredit, false},
		{"the network", fmt.Errorf("look up: %w", context.DeadlineExceeded), false},
		{"several jobs", errors.Join(unknownJob, fmt.Errorf("%w: job 1", ErrUnreadable)), true},
		{"a job, and then the account", fmt.Errorf("look up 3 jobs: %w", errors.Join(unknownJob, noCredit)), false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := AboutJobs(tt.err); got != tt.want {
				t.Errorf("AboutJobs(%v) = %t, want %t", tt.err, got, tt.want)
			}
		})
	}
}
