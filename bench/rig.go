package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// rig is the temporary folder of a run, and what runs in it.
type rig struct {
	root, dir string // the repository, the temporary folder
	cleanups  []func() error
}

// newRig builds the contestant. The caller calls cleanUp, also after an error.
func newRig(ctx context.Context, root string) (r *rig, err error) {
	r = &rig{root: root}
	if r.dir, err = os.MkdirTemp("", "klinghook-bench-"); err != nil {
		return r, err
	}
	r.cleanups = append(r.cleanups, func() error { return os.RemoveAll(r.dir) })
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", r.dir, "./contestant")
	build.Dir = filepath.Join(root, "bench")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return r, fmt.Errorf("build contestant: %w:\n%s", err, out)
	}
	// PostgreSQL, which runs as another user, has its data here.
	return r, os.Chmod(r.dir, 0o755)
}

// cleanUp runs the cleanups after the first n, last first.
func (r *rig) cleanUp(n int, err *error) {
	for len(r.cleanups) > n {
		last := len(r.cleanups) - 1
		*err = errors.Join(*err, r.cleanups[last]())
		r.cleanups = r.cleanups[:last]
	}
}

// program says how to start a process, and when it is ready.
type program struct {
	path      string
	args, env []string
	dir       string // default a new folder
	user      *syscall.Credential
	ready     func(context.Context) error // default at once
}

// process is a running program.
type process struct {
	pid int
	log string
}

// start starts a program and waits until it is ready. cleanUp stops it.
func (r *rig) start(ctx context.Context, p program) (_ *process, err error) {
	if p.dir == "" {
		if p.dir, err = os.MkdirTemp(r.dir, ""); err != nil {
			return nil, err
		}
	}
	started := &process{log: filepath.Join(p.dir, "log")}
	log, err := os.Create(started.log)
	if err != nil {
		return nil, err
	}
	defer func() { _ = log.Close() }() // the program has its own
	running, cancel := context.WithCancel(ctx)
	cmd := exec.CommandContext(running, p.path, p.args...)
	cmd.Cancel, cmd.WaitDelay = func() error { return cmd.Process.Signal(os.Interrupt) }, time.Minute
	cmd.Dir, cmd.Stdout, cmd.Stderr = p.dir, log, log
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + p.dir, "LC_ALL=C"}, p.env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: p.user}
	if err := cmd.Start(); err != nil {
		cancel()
		return nil, err
	}
	started.pid = cmd.Process.Pid
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait() // its log says more than its status
		close(ended)
	}()
	r.cleanups = append(r.cleanups, func() error {
		cancel()
		<-ended
		return os.RemoveAll(p.dir)
	})
	err = until(ctx, 5*time.Millisecond, time.Minute, func(ctx context.Context) (bool, error) {
		select {
		case <-ended:
			return false, errors.New("it ended")
		default:
			return p.ready == nil || p.ready(ctx) == nil, nil
		}
	})
	if err != nil {
		err = fmt.Errorf("%s is not ready: %w\n%s", filepath.Base(p.path), err, started.logTail())
	}
	return started, err
}

// logTail returns the end of what the process printed.
func (p *process) logTail() string {
	text, _ := os.ReadFile(p.log) // it only explains another error
	return string(text[max(0, len(text)-2000):])
}

// residentMiB is the memory of the process.
func (p *process) residentMiB() (float64, error) {
	out, err := exec.Command("ps", "-o", "rss=", "-p", strconv.Itoa(p.pid)).Output() //nolint:noctx // it ends at once
	if err != nil {
		return 0, fmt.Errorf("ps: %w\n%s", err, p.logTail())
	}
	kib, err := strconv.ParseFloat(strings.TrimSpace(string(out)), 64)
	return kib / 1024, err
}

// startReceiver starts a contestant and returns the URL of its webhook.
func (r *rig) startReceiver(ctx context.Context, name, redisAddr string) (_ *process, url string, err error) {
	addr, err := freeAddr(ctx)
	if err != nil {
		return nil, "", err
	}
	p := program{
		path: filepath.Join(r.dir, "contestant"), args: []string{name},
		env:   append(environment(redisAddr), "KLINGHOOK_ADDR="+addr, "KLINGAI_WEBHOOK_SECRET="+secret),
		ready: listens(addr),
	}
	if name == klinghook {
		p.path, p.args = filepath.Join(r.root, "bin", "klinghook-ingest"), nil
	}
	started, err := r.start(ctx, p)
	return started, "http://" + addr + webhookPath, err
}

// environment returns the settings that all of klinghook's processes share.
func environment(redisAddr string) []string {
	return []string{"KLINGHOOK_REDIS_URL=redis://" + redisAddr + "/0", "KLINGHOOK_DATA=data", "KLINGHOOK_ADMIN_ADDR=127.0.0.1:0"}
}

// listens reports whether a program listens on the address.
func listens(addr string) func(context.Context) error {
	return func(ctx context.Context) error {
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
		if err != nil {
			return err
		}
		return conn.Close()
	}
}

// freeAddr returns an unused loopback address, below the ports that the kernel uses for
// outgoing connections.
func freeAddr(ctx context.Context) (string, error) {
	for {
		addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(15_000+rand.IntN(17_000)))
		l, err := new(net.ListenConfig).Listen(ctx, "tcp", addr)
		if err == nil {
			return addr, l.Close()
		}
		if !errors.Is(err, syscall.EADDRINUSE) {
			return "", err
		}
	}
}

// until polls done until it reports true, fails, or the limit has passed.
func until(ctx context.Context, poll, limit time.Duration, done func(context.Context) (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for {
		if ok, err := done(ctx); ok || err != nil {
			return err
		}
		if err := pause(ctx, poll); err != nil {
			return err
		}
	}
}

// pause waits for a time.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
