package spool

import (
	"fmt"
	"os"
	"testing"

	"github.com/klinghook/klinghook/internal/testenv"
)

// helperDir makes the test binary a process that uses the spool in it, which the
// tests can kill.
const helperDir = "SPOOL_TEST_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(helperDir); dir != "" {
		if err := help(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(3)
		}
		os.Exit(0)
	}
	testenv.Main(m)
}
