package main

import (
	"context"
	_ "embed"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"time"
)

//go:embed inserts.sql
var inserts []byte

const pgbenchClients = 16

// measureWorker compares the worker with pgbench, and measures an idle system.
func (b *bench) measureWorker(ctx context.Context) (err error) {
	defer b.rig.cleanUp(len(b.rig.cleanups), &err)
	pg, err := b.rig.startPostgres(ctx)
	if err != nil {
		return err
	}
	for range b.plan.rounds {
		tps, err := b.pgbench(ctx, pg)
		if err != nil {
			return err
		}
		b.add(row{pgbench, none, pgbenchClients}, sample{rate: tps})
		rate, err := b.drain(ctx, pg)
		if err != nil {
			return fmt.Errorf("worker: %w", err)
		}
		b.add(row{worker, near, 0}, sample{rate: rate})
	}
	s, err := b.idle(ctx, pg)
	if err != nil {
		return fmt.Errorf("idle worker: %w", err)
	}
	b.add(row{pickUp, near, 1}, s)
	return nil
}

// pgbench returns the rate of the inserts alone.
func (b *bench) pgbench(ctx context.Context, pg postgres) (float64, error) {
	script := filepath.Join(b.rig.dir, "inserts.sql")
	if err := os.WriteFile(script, inserts, 0o600); err != nil {
		return 0, err
	}
	out, err := exec.CommandContext(ctx, filepath.Join(pg.bin, "pgbench"), "-n", "-M", "prepared", "-f", script, "-c", strconv.Itoa(pgbenchClients),
		"-j", strconv.Itoa(runtime.NumCPU()), "-T", strconv.Itoa(int(b.plan.measure.Seconds())), pg.url).CombinedOutput()
	if err != nil {
		return 0, fmt.Errorf("pgbench: %w:\n%s", err, out)
	}
	found := regexp.MustCompile(`(?m)^tps = ([0-9.]+)`).FindSubmatch(out)
	if found == nil {
		return 0, fmt.Errorf("pgbench printed no rate:\n%s", out)
	}
	return strconv.ParseFloat(string(found[1]), 64)
}

// startKlinghook empties the tables, starts Redis and klinghook-ingest, sends a backlog,
// and starts a worker.
func (b *bench) startKlinghook(ctx context.Context, pg postgres, backlog int) (w *process, webhook string, err error) {
	if _, err := pg.conn.Exec(ctx, `TRUNCATE events, jobs CASCADE`); err != nil {
		return nil, "", err
	}
	rd, err := b.rig.startRedis(ctx, 0)
	if err != nil {
		return nil, "", err
	}
	_, webhook, err = b.rig.startReceiver(ctx, klinghook, rd.addr)
	if err != nil {
		return nil, "", err
	}
	if err := postAll(ctx, webhook, backlog); err != nil {
		return nil, "", err
	}
	if err := rd.awaitQueued(ctx, backlog); err != nil {
		return nil, "", err
	}
	w, err = b.rig.start(ctx, program{
		path: filepath.Join(b.rig.root, "bin", "klinghook"), args: []string{"worker"},
		env: append(environment(rd.addr), "KLINGHOOK_DATABASE_URL="+pg.url),
	})
	return w, webhook, err
}

// drain returns how fast a worker records a backlog, from one tenth to nine tenths of it,
// and fails unless all of it is recorded in the end.
func (b *bench) drain(ctx context.Context, pg postgres) (rate float64, err error) {
	defer b.rig.cleanUp(len(b.rig.cleanups), &err)
	w, _, err := b.startKlinghook(ctx, pg, b.plan.backlog)
	if err != nil {
		return 0, err
	}
	var at [3]time.Time
	var done [3]int
	for i, goal := range []int{b.plan.backlog / 10, b.plan.backlog * 9 / 10, b.plan.backlog} {
		err := until(ctx, 20*time.Millisecond, 2*time.Minute, func(ctx context.Context) (bool, error) {
			err := pg.conn.QueryRow(ctx, `SELECT count(*) FROM events WHERE processed_at IS NOT NULL`).Scan(&done[i])
			return done[i] >= goal, err
		})
		if err != nil {
			return 0, fmt.Errorf("%d of %d events are recorded: %w\n%s", done[i], b.plan.backlog, err, w.logTail())
		}
		at[i] = time.Now()
	}
	return float64(done[1]-done[0]) / at[1].Sub(at[0]).Seconds(), nil
}

// idle sends lone deliveries and measures the time from each 200 to its committed row.
func (b *bench) idle(ctx context.Context, pg postgres) (s sample, err error) {
	defer b.rig.cleanUp(len(b.rig.cleanups), &err)
	w, webhook, err := b.startKlinghook(ctx, pg, 0)
	if err != nil {
		return s, err
	}
	if err := pause(ctx, b.plan.settle); err != nil {
		return s, err
	}
	if s.idleMiB, err = w.residentMiB(); err != nil {
		return s, err
	}
	var took []float64
	for i := range b.plan.pickUps {
		if err := pause(ctx, 200*time.Millisecond+rand.N(150*time.Millisecond)); err != nil {
			return s, err
		}
		if err := post(ctx, http.DefaultClient, webhook, i); err != nil {
			return s, err
		}
		answered := time.Now()
		err := until(ctx, time.Millisecond, 10*time.Second, func(ctx context.Context) (there bool, err error) {
			err = pg.conn.QueryRow(ctx, `SELECT EXISTS (SELECT 1 FROM jobs WHERE platform = 'kling' AND id = $1)`, jobID(i)).Scan(&there)
			return there, err
		})
		if err != nil {
			return s, fmt.Errorf("job %s: %w\n%s", jobID(i), err, w.logTail())
		}
		took = append(took, time.Since(answered).Seconds()*1e3)
	}
	s.p50, s.p99 = quantile(took, 0.5), quantile(took, 0.99)
	return s, nil
}
