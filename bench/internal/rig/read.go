package rig

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/klinghook/klinghook/bench/internal/stats"
)

// deliveries reads the counter of deliveries from klinghook-ingest's metrics.
func deliveries(ctx context.Context, url string) (_ map[string]float64, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, resp.Body.Close()) }()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("GET %s: %s", url, resp.Status)
	}
	outcomes := make(map[string]float64)
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
		if outcome, n, ok := outcomeOf(lines.Text()); ok {
			outcomes[outcome] += n
		}
	}
	return outcomes, lines.Err()
}

// median of values that are numbers.
func median(values []float64) float64 { return stats.Summarize(values).Median }
