// Package stats says what several rounds of one measurement come to: medians,
// spreads, ratios within a round, and latencies merged over rounds.
package stats
