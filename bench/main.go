package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/klinghook/klinghook/bench/internal/report"
	"github.com/klinghook/klinghook/bench/internal/results"
	"github.com/klinghook/klinghook/bench/internal/rig"
	"github.com/klinghook/klinghook/bench/internal/suite"
)

func main() {
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	cancel()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// options are what the flags say.
type options struct {
	root   string
	plan   suite.Plan
	only   []string
	report bool
}

func readOptions(args []string) (options, error) {
	fs := flag.NewFlagSet("bench", flag.ContinueOnError)
	root := fs.String("root", "..", "the repository's folder, with the built programs in bin")
	short := fs.Bool("short", false, "try everything in two minutes; the figures mean nothing")
	only := fs.String("only", "", "measure these only, with commas between: "+strings.Join(suite.Sections(), ", "))
	soak := fs.Duration("soak", 0, "how long the soak takes; 0 leaves it out")
	again := fs.Bool("report", false, "measure nothing and write the report again from the results")
	if err := fs.Parse(args); err != nil {
		return options{}, err
	}
	o := options{plan: suite.Full(), only: suite.Sections(), report: *again}
	if *short {
		o.plan = suite.Short()
	}
	o.plan.Soak = *soak
	if *only != "" {
		o.only = strings.Split(*only, ",")
	}
	for _, name := range o.only {
		if !slices.Contains(suite.Sections(), name) {
			return o, fmt.Errorf("there is no section %q: they are %s", name, strings.Join(suite.Sections(), ", "))
		}
	}
	if slices.Equal(o.only, []string{"soak"}) && *soak == 0 {
		return o, errors.New("say how long the soak takes, for instance SOAK=10m")
	}
	var err error
	o.root, err = filepath.Abs(*root)
	return o, err
}

func run(ctx context.Context, args []string) error {
	o, err := readOptions(args)
	if err != nil {
		return err
	}
	path := filepath.Join(o.root, "bench", "results", o.plan.Name+".json")
	r := new(results.Results)
	// A short run is to show that everything works: nothing of an earlier one may stand in.
	if o.plan.Name == suite.Full().Name || len(o.only) < len(suite.Sections()) {
		if r, err = results.Read(path); err != nil {
			return err
		}
	}
	if o.report {
		return write(o, r)
	}
	began := time.Now()
	err = measure(ctx, o, r, func() error { return r.Write(path) })
	fmt.Printf("took %s; results are in %s\n", time.Since(began).Round(time.Second), path)
	return errors.Join(err, write(o, r))
}

// measure runs the sections, calling keep after each.
func measure(ctx context.Context, o options, r *results.Results, keep func() error) (err error) {
	rg, err := rig.New(ctx, o.root)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rg.Close()) }()
	s := suite.Suite{Rig: rg, Plan: o.plan, Out: os.Stdout, Stamp: results.Stamp{
		Commit: rg.Commit(ctx), Plan: o.plan.Name, Machine: rg.ThisMachine(ctx),
	}}
	return s.Run(ctx, o.only, r, keep)
}

// write writes the report: of a full run into docs, of a short one to the terminal.
func write(o options, r *results.Results) error {
	if o.plan.Name != suite.Full().Name {
		for _, block := range report.Blocks(r) {
			fmt.Printf("\n## %s\n\n%s", block.Name, block.Text)
		}
		dir, err := os.MkdirTemp("", "klinghook-bench-plots-")
		if err != nil {
			return err
		}
		return errors.Join(report.Plots(r, dir), os.RemoveAll(dir))
	}
	docs := filepath.Join(o.root, "docs")
	if err := report.Plots(r, filepath.Join(docs, "performance")); err != nil {
		return err
	}
	return report.Update(filepath.Join(docs, "PERFORMANCE.md"), report.Blocks(r))
}
