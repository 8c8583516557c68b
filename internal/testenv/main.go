package testenv

import (
	"fmt"
	"net/http"
	"os"

	"go.uber.org/goleak"
)

// Main runs a package's tests, stops the servers that they shared, and exits.
// Goroutines that the tests left running make it fail; those that were there
// before the first test, such as a library's own, do not count.
func Main(m interface{ Run() int }) {
	os.Exit(run(m, &shared))
}

// run is Main without the exit.
func run(m interface{ Run() int }, shared *sharedCluster) int {
	before := goleak.IgnoreCurrent()
	shared.enable()
	code := m.Run()
	if err := shared.stop(); err != nil {
		fmt.Fprintln(os.Stderr, "testenv:", err)
		code = max(code, 1)
	}
	if code != 0 {
		// A failed test may not have come to its clean-up: its leaks say nothing.
		return code
	}
	// Connections kept for reuse are no leak of the tests that used the default
	// client.
	http.DefaultClient.CloseIdleConnections()
	if err := goleak.Find(before); err != nil {
		fmt.Fprintln(os.Stderr, "testenv:", err)
		return 1
	}
	return 0
}
