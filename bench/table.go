package main

import (
	"fmt"
	"os"
	"slices"
	"strings"
)

// Names of the rows besides the contestants, and of Redis's locations.
const (
	pgbench = "pgbench, the same inserts"
	worker  = "klinghook worker into PostgreSQL"
	pickUp  = "idle worker: 200 to committed row"

	near = "near"
	far  = "2 ms away"
	none = "–"
)

// row identifies a row of the table.
type row struct {
	what, redis string
	connections int
}

// reference returns the row that the ratios of r are to; the zero row if there is none.
func (r row) reference() row {
	switch r.what {
	case bareEcho, klinghook:
		return row{plainEcho, r.redis, r.connections}
	case worker:
		return row{pgbench, none, pgbenchClients}
	}
	return row{}
}

// sample is what one round measured. 0 means not measured.
type sample struct {
	rate     float64 // answers or events a second
	p50, p99 float64 // milliseconds
	idleMiB  float64
}

// results keeps the samples of each row, one for each round.
type results struct {
	rows    []row
	samples map[row][]sample
}

func (r *results) add(key row, s sample) {
	if len(r.samples[key]) == 0 {
		r.rows = append(r.rows, key)
	}
	r.samples[key] = append(r.samples[key], s)
	fmt.Printf("%-33s Redis %-9s %4d connections %7.0f/s  p50 %6.2f ms  p99 %6.2f ms\n", key.what, key.redis, key.connections, s.rate, s.p50, s.p99)
}

// table returns the medians as Markdown.
func (r *results) table() string {
	var b strings.Builder
	b.WriteString("| what | Redis | connections | per second (lowest to highest) | ratio | p50 ms | p99 ms | idle MiB |\n")
	b.WriteString("| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |\n")
	names := map[string]string{bareEcho: "bare Echo", plainEcho: "plain Echo + asynq"}
	for _, key := range r.rows {
		var rates, p50s, p99s, memory []float64
		for _, s := range r.samples[key] {
			rates, p50s, p99s, memory = append(rates, s.rate), append(p50s, s.p50), append(p99s, s.p99), append(memory, s.idleMiB)
		}
		name, ok := names[key.what]
		if !ok {
			name = key.what
		}
		rate := number(0, median(rates))
		if rate != none {
			rate += fmt.Sprintf(" (%.0f to %.0f)", slices.Min(rates), slices.Max(rates))
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s | %s | %s |\n", name, key.redis, number(0, float64(key.connections)), rate,
			number(2, r.ratio(key)), number(2, median(p50s)), number(2, median(p99s)), number(1, median(memory)))
	}
	return b.String()
}

// ratio compares the rates of each round with those of the reference row, and returns the
// median; 0 without a reference.
func (r *results) ratio(key row) float64 {
	references := r.samples[key.reference()]
	var ratios []float64
	for i, s := range r.samples[key] {
		if i < len(references) {
			ratios = append(ratios, s.rate/references[i].rate)
		}
	}
	return median(ratios)
}

// number formats a figure; one that was not measured is a dash.
func number(decimals int, v float64) string {
	if v == 0 {
		return none
	}
	return fmt.Sprintf("%.*f", decimals, v)
}

func median(values []float64) float64 { return quantile(values, 0.5) }

// quantile returns the value at the part q of the sorted values; 0 without values.
func quantile(values []float64, q float64) float64 {
	if len(values) == 0 {
		return 0
	}
	return slices.Sorted(slices.Values(values))[int(q*float64(len(values)-1)+0.5)]
}

// updateDocument replaces the text between the marks of a file.
func updateDocument(path, text string) error {
	const begin, end = "<!-- bench -->", "<!-- bench:end -->"
	document, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	before, rest, begins := strings.Cut(string(document), begin)
	_, after, ends := strings.Cut(rest, end)
	if !begins || !ends {
		return fmt.Errorf("%s: found no %s followed by %s", path, begin, end)
	}
	return os.WriteFile(path, []byte(before+begin+"\n\n"+text+"\n"+end+after), 0o644)
}
