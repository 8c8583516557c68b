package chaos

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

// row is a scenario's line in the report.
type row struct {
	scenario string
	place    int // in the order of the scenarios
	// sent is deliveries posted, repeats and retries included; refused those of them
	// that were not answered with 200.
	sent, refused int
	// acknowledged and kept are events.
	acknowledged, kept int
	// What took effect, once and rightly.
	jobs, objects, notifications int
	// repeatsIn is deliveries that were acknowledged again; repeatsOut is
	// notifications that the receiver got again, under the same webhook-id.
	repeatsIn, repeatsOut  int
	lost, lostAsDocumented int
	settled                time.Duration
	failed                 bool
}

// cells are the row's, in the order of the header.
func (r row) cells() []string {
	lost := fmt.Sprint(r.lost)
	if r.lostAsDocumented > 0 {
		lost = fmt.Sprintf("%d, of which %d as documented", r.lost, r.lostAsDocumented)
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

func header() []string {
	return []string{"scenario", "sent", "acknowledged", "refused", "kept", "effects", "repeats", "lost", "settled in"}
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

// table returns the rows as a Markdown table that can also be read as it is.
func (r *report) table() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	slices.SortFunc(r.rows, func(a, b row) int { return cmp.Compare(a.place, b.place) })
	lines := [][]string{header()}
	for _, line := range r.rows {
		lines = append(lines, line.cells())
	}
	width := make([]int, len(header()))
	for _, line := range lines {
		for i, cell := range line {
			width[i] = max(width[i], len(cell))
		}
	}
	var b strings.Builder
	for n, line := range lines {
		for i, cell := range line {
			fmt.Fprintf(&b, "| %-*s ", width[i], cell)
		}
		b.WriteString("|\n")
		if n == 0 {
			for _, w := range width {
				b.WriteString("| " + strings.Repeat("-", w) + " ")
			}
			b.WriteString("|\n")
		}
	}
	return b.String()
}

const (
	reportBegin = "<!-- make chaos -->"
	reportEnd   = "<!-- end -->"
)

// renew replaces what stands between the marks in a Markdown file.
func renew(path, text string) error {
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
