package rig

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/klinghook/klinghook/bench/internal/load"
)

// The contestants.
const (
	Echo      = "bare Echo"
	Plain     = "Echo + asynq"
	Klinghook = "klinghook-ingest"
	Express   = "Express"
	Flask     = "Flask"
)

// Receiver is a contestant that listens.
type Receiver struct {
	*Process
	// URL is where deliveries are posted.
	URL string
	// FirstAnswer is how long it took from its start to its first 200.
	FirstAnswer time.Duration
	// admin is its private address, where it has one.
	admin string
}

// Missing says what a contestant lacks on this machine; empty when it can run.
func Missing(name string) string {
	switch name {
	case Express:
		cmd := exec.Command("node", "-e", "require('express')") //nolint:noctx // it ends by itself
		cmd.Env = append(os.Environ(), nodePath)
		if cmd.Run() != nil {
			return "Debian: apt-get install nodejs node-express"
		}
	case Flask:
		// The packaged one, whatever other Python comes first in PATH.
		if _, err := os.Stat(gunicorn); err != nil || exec.Command("/usr/bin/python3", "-c", "import flask").Run() != nil { //nolint:noctx // it ends by itself
			return "Debian: apt-get install python3-flask gunicorn"
		}
	}
	return ""
}

const (
	nodePath = "NODE_PATH=/usr/share/nodejs"
	gunicorn = "/usr/bin/gunicorn"
)

// StartReceiver starts a contestant and waits for its first answer. rd is nil for
// one that needs no Redis; settings are for klinghook only.
func (r *Rig) StartReceiver(ctx context.Context, name string, rd *Redis, settings map[string]string) (_ *Receiver, err error) {
	addr, err := freeAddr(ctx)
	if err != nil {
		return nil, err
	}
	rec := &Receiver{URL: "http://" + addr + load.Path}
	p, err := r.program(ctx, name, addr, rd, rec, settings)
	if err != nil {
		return nil, err
	}
	// Before its start: what signs has nothing to do with it.
	body := load.Event{Index: 999_999_999}.Body()
	header := load.Signed(r.Secret, body)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 5 * time.Second}
	if rec.Process, err = r.start(p); err != nil {
		return nil, err
	}
	err = rec.await(ctx, time.Millisecond, func(ctx context.Context) error { return load.Send(ctx, client, rec.URL, header.Clone(), body) })
	if err != nil {
		return nil, errors.Join(err, rec.Stop())
	}
	rec.FirstAnswer = time.Since(rec.Began)
	return rec, nil
}

// program is how a contestant is started.
func (r *Rig) program(ctx context.Context, name, addr string, rd *Redis, rec *Receiver, settings map[string]string) (program, error) {
	secret := "KLINGAI_WEBHOOK_SECRET=" + r.Secret
	_, port, _ := net.SplitHostPort(addr)
	sources := filepath.Join(r.Root, "bench", "contestant")
	switch name {
	case Echo:
		return program{name: "echo", path: r.contender, args: []string{"echo", "-addr", addr}}, nil
	case Plain:
		return program{name: "plain", path: r.contender, args: []string{"plain", "-addr", addr, "-redis", rd.Addr}, env: []string{secret}}, nil
	case Express:
		return program{name: "express", path: "node", args: []string{filepath.Join(sources, "express.js")}, env: []string{secret, nodePath, "NODE_ENV=production", "PORT=" + port}}, nil
	case Flask:
		// Gunicorn's own advice for the number of workers.
		workers := strconv.Itoa(2*runtime.NumCPU() + 1)
		return program{name: "flask", path: gunicorn, args: []string{"--chdir", sources, "--bind", addr, "--workers", workers, "flask_app:app"}, env: []string{secret, "PYTHONDONTWRITEBYTECODE=1"}}, nil
	case Klinghook:
		dir, err := r.Dir("ingest")
		if err != nil {
			return program{}, err
		}
		if rec.admin, err = freeAddr(ctx); err != nil {
			return program{}, err
		}
		env := []string{
			secret, "KLINGHOOK_ADDR=" + addr, "KLINGHOOK_ADMIN_ADDR=" + rec.admin,
			"KLINGHOOK_REDIS_URL=" + rd.URL(), "KLINGHOOK_DATA=" + filepath.Join(dir, "data"),
		}
		return program{name: "klinghook-ingest", path: filepath.Join(r.Programs, "klinghook-ingest"), env: append(env, environment(settings)...), dir: dir}, nil
	}
	return program{}, fmt.Errorf("there is no contestant %q", name)
}

// Outcomes returns how many deliveries klinghook-ingest has counted, by outcome.
func (rec *Receiver) Outcomes(ctx context.Context) (map[string]float64, error) {
	return deliveries(ctx, "http://"+rec.admin+"/metrics")
}

// Worker is a klinghook worker, or asynq's own with nothing to do.
type Worker struct{ *Process }

// Migrate makes the tables of a database.
func (r *Rig) Migrate(ctx context.Context, databaseURL string) error {
	cmd := exec.CommandContext(ctx, filepath.Join(r.Programs, "klinghook"), "migrate")
	cmd.Env = []string{"HOME=" + r.dir, "KLINGHOOK_DATABASE_URL=" + databaseURL}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("migrate: %w:\n%s", err, out)
	}
	return nil
}

// StartWorker starts a klinghook worker on a database that was migrated, and waits
// until it works.
func (r *Rig) StartWorker(ctx context.Context, rd *Redis, databaseURL string, settings map[string]string) (*Worker, error) {
	admin, err := freeAddr(ctx)
	if err != nil {
		return nil, err
	}
	dir, err := r.Dir("worker")
	if err != nil {
		return nil, err
	}
	env := []string{
		"KLINGHOOK_ADMIN_ADDR=" + admin, "KLINGHOOK_REDIS_URL=" + rd.URL(), "KLINGHOOK_DATABASE_URL=" + databaseURL,
		"KLINGHOOK_DATA=" + filepath.Join(dir, "data"),
	}
	process, err := r.start(program{name: "klinghook worker", path: filepath.Join(r.Programs, "klinghook"), args: []string{"worker"}, env: append(env, environment(settings)...), dir: dir})
	if err != nil {
		return nil, err
	}
	err = process.await(ctx, 5*time.Millisecond, func(ctx context.Context) error { return connect(ctx, admin) })
	if err != nil {
		return nil, errors.Join(err, process.Stop())
	}
	return &Worker{process}, nil
}

// StartPlainWorker starts one asynq Server whose handler does nothing.
func (r *Rig) StartPlainWorker(rd *Redis, concurrency int) (*Worker, error) {
	process, err := r.start(program{name: "drain", path: r.contender, args: []string{"drain", "-redis", rd.Addr, "-concurrency", strconv.Itoa(concurrency)}})
	if err != nil {
		return nil, err
	}
	return &Worker{process}, nil
}

// StartEffectlessWorker starts a klinghook worker whose events have no effect.
func (r *Rig) StartEffectlessWorker(rd *Redis) (*Worker, error) {
	process, err := r.start(program{name: "effectless", path: r.effectless, args: []string{"-redis", rd.Addr}})
	if err != nil {
		return nil, err
	}
	return &Worker{process}, nil
}

// environment returns settings as an environment, in an order that does not change.
func environment(settings map[string]string) []string {
	env := make([]string, 0, len(settings))
	for name, value := range settings {
		env = append(env, name+"="+value)
	}
	slices.Sort(env)
	return env
}

// outcomeOf reads a line such as klinghook_deliveries_total{outcome="accepted",source="klingai"} 12.
func outcomeOf(line string) (outcome string, n float64, ok bool) {
	labels, ok := strings.CutPrefix(line, "klinghook_deliveries_total{")
	if !ok {
		return "", 0, false
	}
	_, rest, _ := strings.Cut(labels, `outcome="`)
	outcome, rest, _ = strings.Cut(rest, `"`)
	_, number, _ := strings.Cut(rest, "} ")
	n, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
	return outcome, n, err == nil && outcome != ""
}
