package config

import (
	"fmt"
	"strings"
)

// Error is everything that is wrong with a configuration.
type Error struct {
	// Problems has a line for each problem: the variable, what is wrong with
	// it, and what to write instead. No line holds a secret.
	Problems []string
}

// Error returns how many problems there are, and a line for each.
func (e *Error) Error() string {
	var b strings.Builder
	if len(e.Problems) == 1 {
		b.WriteString("configuration: 1 problem")
	} else {
		fmt.Fprintf(&b, "configuration: %d problems", len(e.Problems))
	}
	for _, problem := range e.Problems {
		b.WriteString("\n  - ")
		b.WriteString(problem)
	}
	return b.String()
}

// nearest returns the candidate that takes the fewest edits to make from word,
// the first of several. There must be a candidate.
func nearest(word string, candidates []string) string {
	best := candidates[0]
	least := distance(word, best)
	for _, candidate := range candidates[1:] {
		if d := distance(word, candidate); d < least {
			best, least = candidate, d
		}
	}
	return best
}

// Near returns the candidate that a word is probably a misspelling of; ok is false
// when none is near enough.
func Near(word string, candidates []string) (near string, ok bool) {
	if len(candidates) == 0 {
		return "", false
	}
	near = nearest(word, candidates)
	most := max(len(word)/3, 1)
	if len(word) > 3 {
		most = max(most, 2) // two letters that changed places
	}
	return near, distance(word, near) <= most
}

// distance counts the bytes to insert, delete or replace to make b from a.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			replace := diagonal
			if a[i] != b[j] {
				replace++
			}
			diagonal = row[j+1]
			row[j+1] = min(replace, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
