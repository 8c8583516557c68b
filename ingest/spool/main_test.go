package spool

import (
	"fmt"
	"os"
	"testing"

	"github.com/klinghook/klinghook/internal/testenv"
)

// helperDir is the environment variable that makes the test binary run help on a directory.
const helperDir = "SPOOL_TEST_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(helperDir); dir != "" {
		fmt.Fprintln(os.Stderr, help(dir))
		os.Exit(3)
	}
	testenv.Main(m)
}
