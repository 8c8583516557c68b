// Command bench measures klinghook next to bare Echo, plain Echo + asynq and pgbench, on
// the same machine in the same run, and writes one table into docs/performance.md.
//
// It starts Redis and PostgreSQL itself, on loopback, and needs Linux and wrk.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// plan says how much to measure.
type plan struct {
	rounds        int
	settle        time.Duration // before the memory of an idle process is read
	warm, measure time.Duration
	requests      int // different requests to send
	backlog       int // events that a worker finds
	pickUps       int
}

var (
	full  = plan{rounds: 5, settle: time.Second, warm: 2 * time.Second, measure: 8 * time.Second, requests: 450_000, backlog: 20_000, pickUps: 100}
	short = plan{rounds: 1, settle: time.Second / 2, warm: time.Second, measure: 2 * time.Second, requests: 100_000, backlog: 2_000, pickUps: 10}
)

// bench is one run.
type bench struct {
	plan     plan
	rig      *rig
	requests requests
	results
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) (err error) {
	fs := flag.NewFlagSet("bench", flag.ContinueOnError)
	root := fs.String("root", "..", "the repository, with the programs that `make build` builds")
	isShort := fs.Bool("short", false, "only check that everything works, and print the table")
	if err := fs.Parse(args); err != nil {
		return err
	}
	b := &bench{plan: full, results: results{samples: make(map[row][]sample)}}
	if *isShort {
		b.plan = short
	}
	path, err := filepath.Abs(*root)
	if err != nil {
		return err
	}
	machine := describeMachine(ctx, path)
	b.rig, err = newRig(ctx, path)
	defer b.rig.cleanUp(0, &err)
	if err != nil {
		return err
	}
	if b.requests, err = writeRequests(filepath.Join(b.rig.dir, "requests"), b.plan.requests); err != nil {
		return err
	}
	if err := errors.Join(b.measureIngest(ctx), b.measureWorker(ctx)); err != nil {
		return err
	}
	text := b.table() + "\n" + machine
	fmt.Printf("\n%s", text)
	if *isShort {
		return nil
	}
	return updateDocument(filepath.Join(path, "docs", "performance.md"), text)
}

// describeMachine says when, where and on which commit the run began. Parts that cannot be
// read are empty.
func describeMachine(ctx context.Context, root string) string {
	commit, _ := exec.CommandContext(ctx, "git", "-C", root, "describe", "--always", "--dirty").Output()
	info, _ := os.ReadFile("/proc/cpuinfo")
	_, rest, _ := strings.Cut(string(info), "model name")
	model, _, _ := strings.Cut(strings.TrimLeft(rest, "\t :"), "\n")
	load, _ := os.ReadFile("/proc/loadavg")
	average, _, _ := strings.Cut(string(load), " ")
	return fmt.Sprintf("Measured %s at commit %#q on %d cores (%s) with %s; the load average before was %s.\n",
		time.Now().UTC().Format("2006-01-02 15:04 UTC"), strings.TrimSpace(string(commit)), runtime.NumCPU(), model, runtime.Version(), average)
}
