package backlog

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestReadingIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reads := 0
		r := &reading[int]{every: queueEvery, read: func() (int, error) { reads++; return reads, nil }}
		for _, step := range []struct {
			after time.Duration
			want  int
		}{{0, 1}, {queueEvery - 1, 1}, {1, 2}, {0, 2}} {
			time.Sleep(step.after)
			if got, err := r.get(); got != step.want || err != nil {
				t.Errorf("%s later: %d, %v; want %d", step.after, got, err, step.want)
			}
		}
	})
}

// TestSlowReading checks that one who asks is let go after a while, that nothing is
// read twice at once, and that who asks later gets what was read.
func TestSlowReading(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reads := 0
		r := &reading[int]{every: queueEvery, read: func() (int, error) {
			reads++
			time.Sleep(patience + patience/2)
			return reads, nil
		}}
		start := time.Now()
		if _, err := r.get(); !errors.Is(err, errSlow) || time.Since(start) != patience {
			t.Errorf("after %s: %v, want to be let go after %s", time.Since(start), err, patience)
		}
		if got, err := r.get(); got != 1 || err != nil || reads != 1 {
			t.Errorf("the next gets %d, %v, and %d were read; want the first reading", got, err, reads)
		}
		time.Sleep(queueEvery)
		_, _ = r.get()
		start = time.Now()
		r.wait()
		if time.Since(start) != patience/2 {
			t.Errorf("the reading was waited for %s, want %s", time.Since(start), patience/2)
		}
	})
}
