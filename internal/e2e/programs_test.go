package e2e

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/klinghook/klinghook/internal/programs"
)

// patience is how long anything may take before the test gives up. What a lost reply
// or a killed worker leaves behind is taken up again within two minutes.
const patience = 3 * time.Minute

// built is the programs, built once.
var built = sync.OnceValues(func() (*programs.Set, error) { return programs.Build(context.Background()) })

// set returns the built programs.
func set(t *testing.T) *programs.Set {
	t.Helper()
	s, err := built()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// start runs a program until the test ends.
func start(t *testing.T, name string, settings map[string]string, args ...string) *programs.Service {
	t.Helper()
	return set(t).Start(t, name, settings, args...)
}

// run runs a command to its end and returns what it prints.
func run(t *testing.T, settings map[string]string, args ...string) (string, error) {
	t.Helper()
	return set(t).Run(t.Context(), settings, args...)
}

// eventually asks until the answer is yes.
func eventually(t *testing.T, what string, ask func() (done bool, state string)) {
	t.Helper()
	eventuallyWithin(t, patience, what, ask)
}

// eventuallyWithin asks until the answer is yes, for no longer than this.
func eventuallyWithin(t *testing.T, patience time.Duration, what string, ask func() (done bool, state string)) {
	t.Helper()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	timeout := time.After(patience)
	for {
		done, state := ask()
		if done {
			return
		}
		select {
		case <-tick.C:
		case <-timeout:
			t.Fatalf("waited in vain for %s: %s", what, state)
		}
	}
}
