package suite

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/klinghook/klinghook/bench/internal/load"
	"github.com/klinghook/klinghook/bench/internal/results"
	"github.com/klinghook/klinghook/bench/internal/rig"
)

// Suite measures by a plan, on a rig.
type Suite struct {
	Rig  *rig.Rig
	Plan Plan
	// Out is told what is being done.
	Out io.Writer
	// Stamp is put on each section, with the time and the load then.
	Stamp results.Stamp
	// files are the deliveries by the size of their bodies, made when first needed.
	files map[int]*load.Requests
}

// section is a part of the report.
type section struct {
	name    string
	measure func(*Suite, context.Context, *results.Results) error
}

func sections() []section {
	return []section{
		{"saturation", (*Suite).saturation},
		{"steady", (*Suite).steady},
		{"growth", (*Suite).growth},
		{"memory", (*Suite).memory},
		{"drain", (*Suite).drain},
		{"idle", (*Suite).idle},
		{"downloads", (*Suite).downloads},
		{"scaling", (*Suite).scaling},
		{"soak", (*Suite).soak},
	}
}

// Sections are the names of what can be measured, in order.
func Sections() []string {
	var names []string
	for _, s := range sections() {
		names = append(names, s.name)
	}
	return names
}

// Run measures the named sections into r, and goes on with the next when one fails.
// keep is called after each that did not.
func (s *Suite) Run(ctx context.Context, only []string, r *results.Results, keep func() error) error {
	var errs []error
	for _, sec := range sections() {
		if !slices.Contains(only, sec.name) || sec.name == "soak" && s.Plan.Soak == 0 {
			continue
		}
		began := time.Now()
		s.say("%s", strings.ToUpper(sec.name))
		err := sec.measure(s, ctx, r)
		if err == nil {
			err = keep()
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", sec.name, err))
			s.say("  failed: %v", err)
		}
		s.say("  took %s", time.Since(began).Round(time.Second))
		if ctx.Err() != nil {
			break
		}
	}
	return errors.Join(errs...)
}

func (s *Suite) say(format string, args ...any) { fmt.Fprintf(s.Out, format+"\n", args...) }

// stamp is the section's that begins now.
func (s *Suite) stamp() results.Stamp {
	st := s.Stamp
	st.At, st.Load = time.Now().UTC().Truncate(time.Second), rig.LoadAverage()
	return st
}

// requests returns the deliveries with bodies of a size.
func (s *Suite) requests(size int) (*load.Requests, error) {
	if r := s.files[size]; r != nil {
		return r, nil
	}
	count := min(s.Plan.Requests, s.Plan.SizeBudget/size)
	r, err := load.Write(s.Rig.Path(fmt.Sprintf("requests-%d", size)), s.Rig.Secret, size, count)
	if err != nil {
		return nil, fmt.Errorf("write deliveries: %w", err)
	}
	if s.files == nil {
		s.files = make(map[int]*load.Requests)
	}
	s.files[size] = r
	return r, nil
}

// pause waits.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// until polls done until it is true, or the time is up, which is no error.
func until(ctx context.Context, poll, limit time.Duration, done func(context.Context) (bool, error)) (bool, error) {
	tick := time.NewTicker(poll)
	defer tick.Stop()
	deadline := time.After(limit)
	for {
		ok, err := done(ctx)
		if ok || err != nil {
			return ok, err
		}
		select {
		case <-tick.C:
		case <-deadline:
			return false, nil
		case <-ctx.Done():
			return false, ctx.Err()
		}
	}
}

// stopper is something that was started.
type stopper interface{ Stop() error }

// stop stops what was started and joins what went wrong into err.
func stop(err *error, started stopper) {
	if stopErr := started.Stop(); stopErr != nil {
		*err = errors.Join(*err, stopErr)
	}
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// perEvent is a processor time for each of n events, in microseconds.
func perEvent(d time.Duration, n int64) float64 {
	if n <= 0 {
		return 0
	}
	return float64(d) / float64(time.Microsecond) / float64(n)
}
