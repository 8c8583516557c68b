package store

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Position is a place in a list that is sorted by time and id, newest first.
type Position struct {
	At time.Time
	ID string
}

// IsZero reports whether the position is the start of the list.
func (p Position) IsZero() bool { return p == Position{} }

// String returns the position as text for [ParsePosition].
func (p Position) String() string {
	if p.IsZero() {
		return ""
	}
	return strconv.FormatInt(p.At.UnixMicro(), 10) + "." + p.ID
}

// ParsePosition parses the result of [Position.String].
func ParsePosition(text string) (Position, error) {
	if text == "" {
		return Position{}, nil
	}
	at, id, found := strings.Cut(text, ".")
	micros, err := strconv.ParseInt(at, 10, 64)
	if err != nil || !found {
		return Position{}, fmt.Errorf("invalid cursor %q; leave it out to start from the newest", text)
	}
	return Position{time.UnixMicro(micros).UTC(), id}, nil
}

// before adds the condition that a row comes after a position of its list.
func (w *where) before(d dialect, p Position) {
	w.andIf(!p.IsZero(), "(received_at, id) < (?, ?)", d.time(p.At), storable(p.ID))
}
