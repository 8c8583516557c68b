package join

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// recorder doubles numbers and keeps its batches.
type recorder struct {
	mu      sync.Mutex
	batches [][]int
	delay   time.Duration
}

func (r *recorder) double(_ context.Context, items []int) ([]int, error) {
	r.mu.Lock()
	r.batches = append(r.batches, slices.Clone(items))
	r.mu.Unlock()
	time.Sleep(r.delay)
	doubled := make([]int, len(items))
	for i, n := range items {
		if n < 0 {
			return nil, errors.New("negative")
		}
		doubled[i] = 2 * n
	}
	return doubled, nil
}

func TestCallsDuringABatchShareTheNextOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &recorder{delay: time.Second}
		j := New(Config[int, int]{Do: r.double})
		var group sync.WaitGroup
		for n := range 10 {
			group.Go(func() {
				if got, err := j.Do(t.Context(), n); got != 2*n || err != nil {
					t.Errorf("Do(%d) = %d, %v", n, got, err)
				}
			})
			synctest.Wait()
		}
		start := time.Now()
		group.Wait()
		j.Wait()
		if len(r.batches) != 2 || len(r.batches[0]) != 1 || len(r.batches[1]) != 9 {
			t.Errorf("batches are %v, want one of 1 and one of 9", r.batches)
		}
		if took := time.Since(start); took != 2*time.Second {
			t.Errorf("took %v, want 2s", took)
		}
	})
}

func TestFullBatchDoesNotWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &recorder{delay: time.Second}
		j := New(Config[int, int]{Do: r.double, MaxBatch: 4, Parallel: 2})
		start := time.Now()
		var group sync.WaitGroup
		for n := range 9 {
			group.Go(func() { _, _ = j.Do(t.Context(), n) })
			synctest.Wait()
		}
		group.Wait()
		if took := time.Since(start); took != 2*time.Second {
			t.Errorf("took %v, want 2s: 1 and 4 at once, then 4", took)
		}
	})
}

func TestOneBadItemFailsOnlyItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &recorder{delay: time.Second}
		j := New(Config[int, int]{Do: r.double})
		var group sync.WaitGroup
		for _, n := range []int{0, 1, -1, 2} {
			group.Go(func() {
				got, err := j.Do(t.Context(), n)
				if (err != nil) != (n < 0) || err == nil && got != 2*n {
					t.Errorf("Do(%d) = %d, %v", n, got, err)
				}
			})
			synctest.Wait()
		}
		group.Wait()
	})
}

func TestPanicIsAnError(t *testing.T) {
	j := New(Config[int, int]{Do: func(context.Context, []int) ([]int, error) { panic("boom") }})
	if _, err := j.Do(t.Context(), 1); err == nil || !strings.Contains(err.Error(), "boom") {
		t.Errorf("error is %v, want one with boom", err)
	}
}

func TestCallReturnsWhenItsContextEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ended := make(chan struct{})
		j := New(Config[int, int]{Do: func(ctx context.Context, items []int) ([]int, error) {
			<-ctx.Done()
			close(ended)
			return nil, ctx.Err()
		}})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := j.Do(ctx, 1); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error is %v, want deadline exceeded", err)
		}
		<-ended // the batch ends with its last caller
		j.Wait()
	})
}

// go-redis ends a hung pipeline only at its context's deadline.
func TestBatchHasTheLatestDeadlineOfItsCallers(t *testing.T) {
	for name, tt := range map[string]struct {
		waits []time.Duration // of the second batch's callers; 0 has no deadline
		want  time.Duration   // 0 means no deadline
	}{
		"all have one": {[]time.Duration{2 * time.Minute, 5 * time.Minute, 3 * time.Minute}, 5 * time.Minute},
		"one has none": {[]time.Duration{2 * time.Minute, 0}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				var deadlines []time.Duration
				j := New(Config[int, int]{Do: func(ctx context.Context, items []int) ([]int, error) {
					deadline, ok := ctx.Deadline()
					if !ok {
						deadline = start
					}
					deadlines = append(deadlines, deadline.Sub(start))
					time.Sleep(time.Second)
					return items, nil
				}})
				var group sync.WaitGroup
				for i, wait := range append([]time.Duration{time.Minute}, tt.waits...) {
					ctx := t.Context()
					if wait > 0 {
						var cancel context.CancelFunc
						ctx, cancel = context.WithTimeout(ctx, wait)
						t.Cleanup(cancel)
					}
					group.Go(func() { _, _ = j.Do(ctx, i) })
					synctest.Wait()
				}
				group.Wait()
				if want := []time.Duration{time.Minute, tt.want}; !slices.Equal(deadlines, want) {
					t.Errorf("batches had the deadlines %v, want %v", deadlines, want)
				}
			})
		})
	}
}
