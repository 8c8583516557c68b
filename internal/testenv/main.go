package testenv

import (
	"fmt"
	"net/http"
	"os"

	"go.uber.org/goleak"
)

// Main runs a package's tests, stops the servers that they shared, and exits. It fails if
// the tests leave goroutines running. Goroutines that ran before the first test, such as
// a library's own, do not count.
func Main(m interface{ Run() int }) {
	os.Exit(run(m, &shared))
}

// run is Main without the exit.
func run(m interface{ Run() int }, shared *sharedServer) int {
	before := goleak.IgnoreCurrent()
	shared.enable()
	code := m.Run()
	if err := shared.stop(); err != nil {
		fmt.Fprintln(os.Stderr, "testenv:", err)
		code = max(code, 1)
	}
	if code != 0 {
		return code // A failed test may have left goroutines.
	}
	// Idle connections of the default client are not a leak.
	http.DefaultClient.CloseIdleConnections()
	if err := goleak.Find(before); err != nil {
		fmt.Fprintln(os.Stderr, "testenv:", err)
		return 1
	}
	return 0
}
