package spool

import (
	"fmt"
	"os"
	"testing"

	"github.com/klinghook/klinghook/internal/testenv"
)

// helperDir makes the test binary a process that uses the spool there, for a test that
// kills it.
const helperDir = "SPOOL_TEST_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(helperDir); dir != "" {
		fmt.Fprintln(os.Stderr, help(dir))
		os.Exit(3)
	}
	testenv.Main(m)
}
