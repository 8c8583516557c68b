package e2e

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
)

// row is a scenario's row of the report.
type row struct {
	scenario string
	place    int // in the order of the scenarios
	// sent counts deliveries, including repeats and retries; refused those that were
	// not answered with 200.
	sent, refused      int
	acknowledged, kept int // events
	// jobs, objects and notifications count correct effects.
	jobs, objects, notifications int
	// repeatsIn counts deliveries acknowledged again; repeatsOut notifications that
	// came again with the same webhook-id.
	repeatsIn, repeatsOut  int
	lost, lostAsDocumented int
	settled                time.Duration
	failed                 bool
}

// cells returns the row's cells in the order of the header.
func (r row) cells() []string {
	lost := fmt.Sprint(r.lost)
	if r.lostAsDocumented > 0 {
		lost = fmt.Sprintf("%d, %d of them as documented", r.lost, r.lostAsDocumented)
		if r.lost == r.lostAsDocumented {
			lost = fmt.Sprintf("%d, as documented", r.lost)
		}
	}
	name := r.scenario
	if r.failed {
		name += " (FAILED)"
	}
	return []string{
		name, fmt.Sprint(r.sent), fmt.Sprint(r.acknowledged), fmt.Sprint(r.refused), fmt.Sprint(r.kept),
		fmt.Sprintf("%d + %d + %d", r.jobs, r.objects, r.notifications),
		fmt.Sprintf("%d / %d", r.repeatsIn, r.repeatsOut), lost, fmt.Sprintf("%.0f s", r.settled.Seconds()),
	}
}

// report collects the rows.
type report struct {
	mu   sync.Mutex // guards rows
	rows []row
}

func (r *report) add(line row) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.rows = append(r.rows, line)
}

// table returns the rows as a Markdown table.
func (r *report) table() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	slices.SortFunc(r.rows, func(a, b row) int { return cmp.Compare(a.place, b.place) })
	table := "| scenario | sent | acknowledged | refused | kept | effects | repeats | lost | settled in |\n" + strings.Repeat("| --- ", 9) + "|\n"
	for _, line := range r.rows {
		table += "| " + strings.Join(line.cells(), " | ") + " |\n"
	}
	return table
}

const (
	reportBegin = "<!-- make chaos -->"
	reportEnd   = "<!-- end -->"
)

// replaceTable replaces the text between the marks in a Markdown file.
func replaceTable(path, text string) error {
	content, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	before, rest, hasBegin := strings.Cut(string(content), reportBegin)
	_, after, hasEnd := strings.Cut(rest, reportEnd)
	if !hasBegin || !hasEnd {
		return errors.New(path + " has no " + reportBegin + " followed by " + reportEnd)
	}
	return os.WriteFile(path, []byte(before+reportBegin+"\n\n"+text+"\n"+reportEnd+after), 0o644)
}
