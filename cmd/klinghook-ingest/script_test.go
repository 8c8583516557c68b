package main

import (
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/klinghook/klinghook/internal/testenv/script"
)

// TestMain makes the test binary the program that the scripts run.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"klinghook-ingest": main})
}

func TestScripts(t *testing.T) { script.Run(t, nil, nil) }
