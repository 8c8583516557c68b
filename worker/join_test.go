package worker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"
)

// joint is what a joiner of a test does: it notes each batch, and waits until it is
// let go on, or its context ends.
type joint struct {
	release chan struct{} // nil where it does not wait

	mu      sync.Mutex // guards batches
	batches [][]string
}

func (j *joint) do(ctx context.Context, list []string) ([]string, error) {
	j.mu.Lock()
	j.batches = append(j.batches, slices.Clone(list))
	j.mu.Unlock()
	if j.release != nil {
		select {
		case <-j.release:
		case <-ctx.Done():
			return nil, fmt.Errorf("given up: %w", ctx.Err())
		}
	}
	answers := make([]string, len(list))
	for i, item := range list {
		switch item {
		case "bad":
			return nil, errors.New("the batch is bad")
		case "worse":
			panic("a poison item")
		}
		answers[i] = "did " + item
	}
	return answers, nil
}

// newJoint returns a joiner for which items are the same when their first three
// letters are.
func newJoint(flushers int, release chan struct{}) (*joint, *joiner[string, string]) {
	j := &joint{release: release}
	return j, &joiner[string, string]{
		flushers: flushers, least: leastEvents, key: func(item string) string { return item[:min(3, len(item))] }, do: j.do,
		alone: func(ctx context.Context, item string) (string, error) {
			answers, err := j.do(ctx, []string{item})
			return strings.Join(answers, ""), err
		},
	}
}

// callAll makes calls, each after the one before waits, and returns what gives their
// answers, or errors, in the same order.
func callAll(ctx context.Context, j *joiner[string, string], items ...string) func() []string {
	var wg sync.WaitGroup
	answers := make([]string, len(items))
	for i, item := range items {
		wg.Go(func() {
			var err error
			if answers[i], err = j.call(ctx, item); err != nil {
				answers[i], _, _ = strings.Cut(err.Error(), "\n")
			}
		})
		synctest.Wait()
	}
	return func() []string {
		wg.Wait()
		return answers
	}
}

func TestJoin(t *testing.T) {
	var many, manyDone []string
	for i := range leastEvents {
		many = append(many, fmt.Sprintf("%03d", i))
		manyDone = append(manyDone, "did "+many[i])
	}
	tests := []struct {
		name        string
		flushers    int
		items       []string
		wantBatches [][]string
		wantAnswers []string
	}{
		{"the first at once, the others together", 1, []string{"a", "b", "c", "d"}, [][]string{{"a"}, {"b", "c", "d"}}, []string{"did a", "did b", "did c", "did d"}},
		{"few share one", 2, []string{"a", "b", "c"}, [][]string{{"a"}, {"b", "c"}}, []string{"did a", "did b", "did c"}},
		{
			"many have another begun", 2, slices.Concat([]string{"a"}, many, []string{"b", "c"}),
			[][]string{{"a"}, many, {"b", "c"}}, slices.Concat([]string{"did a"}, manyDone, []string{"did b", "did c"}),
		},
		{
			"the same in batches of their own", 1, []string{"a", "one-1", "b", "one-2", "one-3", "c"},
			[][]string{{"a"}, {"one-1", "b", "c"}, {"one-2"}, {"one-3"}}, []string{"did a", "did one-1", "did b", "did one-2", "did one-3", "did c"},
		},
		{
			"one that fails, fails alone", 1, []string{"a", "b", "bad", "c"},
			[][]string{{"a"}, {"b", "bad", "c"}, {"b"}, {"bad"}, {"c"}}, []string{"did a", "did b", "the batch is bad", "did c"},
		},
		{
			"one that panics, fails alone", 1, []string{"a", "worse", "b"},
			[][]string{{"a"}, {"worse", "b"}, {"b"}, {"worse"}}, []string{"did a", "panic: a poison item", "did b"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				release := make(chan struct{})
				work, j := newJoint(tt.flushers, release)
				answers := callAll(t.Context(), j, tt.items...)
				for range tt.wantBatches {
					release <- struct{}{}
					synctest.Wait()
				}
				if diff := cmp.Diff(tt.wantAnswers, answers()); diff != "" {
					t.Errorf("answers (-want +got):\n%s", diff)
				}
				j.wait()
				slices.SortStableFunc(work.batches[min(2, len(work.batches)):], slices.Compare) // those that go alone have no order
				if diff := cmp.Diff(tt.wantBatches, work.batches); diff != "" {
					t.Errorf("batches (-want +got):\n%s", diff)
				}
			})
		})
	}
}

// TestJoinedCallWaitsAlone holds that one which takes long when it is done alone holds
// up no batch.
func TestJoinedCallWaitsAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, j := newJoint(1, nil)
		release := make(chan struct{})
		j.alone = func(_ context.Context, item string) (string, error) {
			if item == "bad" {
				<-release
			}
			return "did " + item + " alone", nil
		}
		slow := callAll(t.Context(), j, "bad")
		if got := callAll(t.Context(), j, "a")(); got[0] != "did a" {
			t.Errorf("the next got %q", got)
		}
		close(release)
		if got := slow(); got[0] != "did bad alone" {
			t.Errorf("who waited alone got %q", got)
		}
	})
}

// TestJoinIsBounded holds that a batch has no more than so many calls.
func TestJoinIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		work, j := newJoint(1, release)
		items := []string{"first"}
		for i := range maxJoined + 1 {
			items = append(items, fmt.Sprintf("%03d", i))
		}
		answers := callAll(t.Context(), j, items...)
		close(release)
		answers()
		var sizes []int
		for _, batch := range work.batches {
			sizes = append(sizes, len(batch))
		}
		if diff := cmp.Diff([]int{1, maxJoined, 1}, sizes); diff != "" {
			t.Errorf("sizes of the batches (-want +got):\n%s", diff)
		}
	})
}

// TestJoinedCallerLeaves holds that a caller whose context ends waits no more, that a
// batch goes on for the others that share it, and that one for which nobody waits any
// more is given up.
func TestJoinedCallerLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		work, j := newJoint(1, release)
		first := callAll(t.Context(), j, "first")
		leaving, leave := context.WithCancel(t.Context())
		left := callAll(leaving, j, "leaves")
		stayed := callAll(t.Context(), j, "stays")
		release <- struct{}{}
		first()
		synctest.Wait() // the two are under way together
		gone := callAll(leaving, j, "waits")
		leave()
		if got := slices.Concat(left(), gone()); !slices.Equal(got, []string{"context canceled", "context canceled"}) {
			t.Errorf("who left got %q, want the end of the context", got)
		}
		release <- struct{}{}
		if got := stayed(); got[0] != "did stays" {
			t.Errorf("who stayed got %q", got)
		}
		lone, leaveAlone := context.WithCancel(t.Context())
		last := callAll(lone, j, "last")
		leaveAlone()
		last()
		j.wait() // and hangs where the batch is not given up: nobody lets it go on
		if diff := cmp.Diff([][]string{{"first"}, {"leaves", "stays"}, {"last"}}, work.batches); diff != "" {
			t.Errorf("batches (-want +got):\n%s", diff)
		}
	})
}
