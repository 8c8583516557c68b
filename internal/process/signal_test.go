package process_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/klinghook/klinghook/internal/process"
	"github.com/klinghook/klinghook/internal/testenv"
)

// signalSelf sends this process a signal.
func signalSelf(t *testing.T, sig syscall.Signal) {
	t.Helper()
	testenv.NoError(t, syscall.Kill(os.Getpid(), sig))
}

func TestSignalAfterTheFirstCallsNow(t *testing.T) {
	for name, end := range map[string]func(t *testing.T, cancel func()){
		"SIGINT":  func(t *testing.T, _ func()) { signalSelf(t, syscall.SIGINT) },
		"SIGTERM": func(t *testing.T, _ func()) { signalSelf(t, syscall.SIGTERM) },
		"another": func(_ *testing.T, cancel func()) { cancel() },
	} {
		t.Run(name, func(t *testing.T) {
			parent, cancel := context.WithCancel(t.Context())
			now := make(chan struct{}, 1)
			ctx, stop := process.Signals(parent, func() { now <- struct{}{} })
			defer stop()
			testenv.NoError(t, ctx.Err())
			end(t, cancel)
			receive(t, ctx.Done(), "the context's end")
			if len(now) != 0 {
				t.Error("the first signal called now")
			}
			signalSelf(t, syscall.SIGTERM)
			receive(t, now, "the call of now")
			cancel()
		})
	}
}

// TestStopRestoresDefaultSignalHandling lets SIGTERM end a child process.
func TestStopRestoresDefaultSignalHandling(t *testing.T) {
	const asChild = "KLINGHOOK_TEST_SIGNALS_STOP"
	if os.Getenv(asChild) != "" {
		ctx, stop := process.Signals(t.Context(), func() { os.Exit(3) })
		stop()
		stop()
		if ctx.Err() == nil {
			os.Exit(4)
		}
		signalSelf(t, syscall.SIGTERM)
		time.Sleep(soon) // until the signal ends it
		os.Exit(5)
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestStopRestoresDefaultSignalHandling$")
	cmd.Env = append(os.Environ(), asChild+"=1")
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		t.Fatalf("%v, want it to end by SIGTERM\n%s", err, out)
	}
	if status, ok := exit.Sys().(syscall.WaitStatus); !ok || !status.Signaled() || status.Signal() != syscall.SIGTERM {
		t.Errorf("%v, want it to end by SIGTERM\n%s", err, out)
	}
}
