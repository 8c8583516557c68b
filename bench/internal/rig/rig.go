package rig

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/klinghook/klinghook/internal/testenv"
)

// startTimeout bounds the start of anything, until it answers.
const startTimeout = time.Minute

// Rig is the folder and the programs of one run.
type Rig struct {
	// Root is the repository's folder, Programs the one with klinghook's programs.
	Root, Programs string
	// Secret signs all deliveries.
	Secret string
	// Silent sends what processes print to nowhere, for runs that would fill a disk.
	Silent bool

	dir        string
	contender  string
	effectless string
	started    int
}

// New returns a Rig for the repository at root, whose programs `make build` has
// built, and builds what klinghook is measured beside.
func New(ctx context.Context, root string) (_ *Rig, err error) {
	r := &Rig{Root: root, Programs: filepath.Join(root, "bin"), Secret: "bench-secret-of-32-letters-or-so"}
	for _, name := range []string{"klinghook", "klinghook-ingest"} {
		if _, err := os.Stat(filepath.Join(r.Programs, name)); err != nil {
			return nil, fmt.Errorf("%w: `make build` builds it", err)
		}
	}
	// Open to all, because PostgreSQL runs as another user when we are root.
	if r.dir, err = os.MkdirTemp("", "klinghook-bench-"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, r.Close())
		}
	}()
	if err := os.Chmod(r.dir, 0o755); err != nil {
		return nil, err
	}
	// Who waits for a Redis to start knows that it does not answer yet.
	redis.SetLogger(quiet{})
	r.contender, r.effectless = filepath.Join(r.dir, "contestant"), filepath.Join(r.dir, "effectless")
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", r.dir, "./contestant", "./effectless")
	build.Dir = filepath.Join(root, "bench")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build contestants: %w:\n%s", err, out)
	}
	return r, nil
}

// quiet drops what go-redis has to say.
type quiet struct{}

// Printf implements go-redis's logging interface.
func (quiet) Printf(context.Context, string, ...any) {}

// Close removes the folder. What runs must have been stopped.
func (r *Rig) Close() error { return os.RemoveAll(r.dir) }

// Path returns a path in the rig's folder.
func (r *Rig) Path(name string) string { return filepath.Join(r.dir, name) }

// Dir makes a folder of its own for something that starts.
func (r *Rig) Dir(name string) (string, error) {
	r.started++
	dir := filepath.Join(r.dir, fmt.Sprintf("%03d-%s", r.started, name))
	return dir, os.Mkdir(dir, 0o755)
}

// Process is something that runs.
type Process struct {
	*testenv.Process
	name, dir, log string
	// Began is when it was started.
	Began time.Time
}

// program is how a process is started.
type program struct {
	name, path string
	args       []string
	env        []string
	// dir is where it runs; a folder of its own when empty.
	dir string
}

func (r *Rig) start(p program) (*Process, error) {
	if p.dir == "" {
		var err error
		if p.dir, err = r.Dir(p.name); err != nil {
			return nil, err
		}
	}
	log := filepath.Join(p.dir, "log")
	if r.Silent {
		log = os.DevNull
	}
	env := append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + r.dir, "TMPDIR=" + r.dir, "LC_ALL=C"}, p.env...)
	began := time.Now()
	started, err := testenv.StartProgram(testenv.Program{Path: p.path, Args: p.args, Env: env, Dir: p.dir, Log: log})
	if err != nil {
		return nil, err
	}
	return &Process{Process: started, name: p.name, dir: p.dir, log: log, Began: began}, nil
}

// Stop ends the process in good order and removes its folder.
func (p *Process) Stop() error {
	return errors.Join(p.End(syscall.SIGTERM), os.RemoveAll(p.dir))
}

// await polls until the process is ready. The error of one that is not, or that has
// ended, carries the end of its log.
func (p *Process) await(ctx context.Context, poll time.Duration, ready func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	tick := time.NewTicker(poll)
	defer tick.Stop()
	for {
		err := ready(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-p.Exited():
			return fmt.Errorf("%s ended before it was ready:\n%s", p.name, p.LogTail())
		case <-ctx.Done():
			return fmt.Errorf("%s is not ready: %w:\n%s", p.name, err, p.LogTail())
		case <-tick.C:
		}
	}
}

// LogTail returns the end of what the process has printed.
func (p *Process) LogTail() string {
	file, err := os.Open(p.log)
	if err != nil {
		return err.Error()
	}
	defer func() { _ = file.Close() }() // it was only read
	const tail = 2000
	if info, err := file.Stat(); err == nil && info.Size() > tail {
		_, _ = file.Seek(-tail, io.SeekEnd) // else more is shown
	}
	text, _ := io.ReadAll(file) // as much as there is
	return string(text)
}

// freeAddr returns a loopback address on which nobody listens, below the ports that
// the kernel hands out by itself.
func freeAddr(ctx context.Context) (string, error) {
	const first, last = 15_000, 32_000
	var lc net.ListenConfig
	for range 100 {
		addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(first+rand.IntN(last-first)))
		if l, err := lc.Listen(ctx, "tcp", addr); err == nil {
			return addr, l.Close()
		}
	}
	return "", errors.New("no free loopback port was found")
}
