package testenv

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

const (
	initTimeout  = 2 * time.Minute
	queryTimeout = 30 * time.Second
)

// Postgres returns the URL of a fresh, empty database that is dropped after the
// test. It lives in a server that the package's tests share, without fsync; the
// first test that asks starts it and [Main] stops it. The test is skipped where
// PostgreSQL is not installed.
func Postgres(t testing.TB) string {
	t.Helper()
	bin := postgresBin(t)
	c, n, err := shared.next(t.Context(), bin)
	if err != nil {
		t.Fatalf("postgres: %v", err)
	}
	name := fmt.Sprintf("test_%d", n)
	if err := c.exec(t.Context(), "CREATE DATABASE "+name); err != nil {
		t.Fatalf("postgres: %v", err)
	}
	t.Cleanup(func() {
		// FORCE, because a test that failed may have left connections behind.
		if err := c.exec(context.WithoutCancel(t.Context()), "DROP DATABASE "+name+" WITH (FORCE)"); err != nil {
			t.Errorf("postgres: %v", err)
		}
	})
	return c.url(name)
}

// PostgresCluster is a PostgreSQL server that one test has for itself.
type PostgresCluster struct {
	t       testing.TB
	cluster *cluster
}

// PostgresServer starts a server that ends with the test, for tests that kill
// it. It costs a second or two: where any database will do, use [Postgres]. The
// test is skipped where PostgreSQL is not installed.
func PostgresServer(t testing.TB) *PostgresCluster {
	t.Helper()
	bin := postgresBin(t)
	c, err := newCluster(t.Context(), bin)
	if err != nil {
		t.Fatalf("postgres: %v", err)
	}
	t.Cleanup(func() {
		if err := c.remove(); err != nil {
			t.Errorf("postgres: %v", err)
		}
	})
	return &PostgresCluster{t: t, cluster: c}
}

// URL returns the URL of the server's only database, which is empty at first.
func (p *PostgresCluster) URL() string { return p.cluster.url(maintenanceDB) }

// Kill ends the server with SIGKILL, as a crash would. Sessions notice and end
// by themselves a moment later.
func (p *PostgresCluster) Kill() {
	p.t.Helper()
	if err := p.cluster.kill(); err != nil {
		p.t.Fatalf("postgres: %v", err)
	}
}

// Stop ends the server in good order, without waiting for its clients, and returns
// once it is gone.
func (p *PostgresCluster) Stop() {
	p.t.Helper()
	if err := p.cluster.stop(); err != nil {
		p.t.Fatalf("stop postgres: %v", err)
	}
}

// Restart brings the server back at the same address and with everything that
// was committed, and returns once it answers. A running one is stopped first, in
// good order but without waiting for its clients.
func (p *PostgresCluster) Restart() {
	p.t.Helper()
	if err := p.cluster.restart(p.t.Context()); err != nil {
		p.t.Fatalf("restart postgres: %v", err)
	}
}

// postgresBin returns the directory of PostgreSQL's programs, or ends the test.
func postgresBin(t testing.TB) string {
	t.Helper()
	program := findProgram("initdb",
		"/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/usr/local/pgsql/bin",
		"/opt/homebrew/opt/postgresql@*/bin", "/usr/local/opt/postgresql@*/bin")
	if program == "" {
		missing(t, "PostgreSQL is not installed (Debian, Ubuntu: apt-get install postgresql; macOS: brew install postgresql@17)")
	}
	// initdb in PATH may be a link; the server's other programs are beside the
	// real one.
	program, err := filepath.EvalSymlinks(program)
	if err != nil {
		t.Fatalf("postgres: %v", err)
	}
	return filepath.Dir(program)
}

// shared is the server of all tests of the package that run in this process.
var shared sharedCluster //nolint:gochecknoglobals // Tests share it, and a test binary has no other place to keep it.

// sharedCluster is a cluster that is started when it is first needed.
type sharedCluster struct {
	// mu guards all fields, and makes one test start the cluster while the
	// others wait.
	mu sync.Mutex
	// enabled says that somebody will call stop.
	enabled bool
	cluster *cluster
	// err is why the cluster could not be started; it is not tried again.
	err       error
	databases int
}

func (s *sharedCluster) enable() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.enabled = true
}

// next returns the running cluster and a number for a database that no other
// test has.
func (s *sharedCluster) next(ctx context.Context, bin string) (*cluster, int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.enabled {
		return nil, 0, errors.New("nothing will stop the shared server: the package needs func TestMain(m *testing.M) { testenv.Main(m) }")
	}
	if s.cluster == nil && s.err == nil {
		s.cluster, s.err = newCluster(ctx, bin)
	}
	s.databases++
	return s.cluster, s.databases, s.err
}

func (s *sharedCluster) stop() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.enabled = false
	if s.cluster == nil {
		return nil
	}
	c := s.cluster
	s.cluster = nil
	return c.remove()
}

// maintenanceDB is the database that initdb creates.
const maintenanceDB = "postgres"

// cluster is a PostgreSQL server with its own data.
type cluster struct {
	bin string
	// dir holds everything of the server; data, in it, is PostgreSQL's.
	dir, data string
	user      *syscall.Credential
	port      int
	process   *process
	// killed says that the process ended without freeing its shared memory.
	killed bool
}

// newCluster creates a cluster and starts its server.
func newCluster(ctx context.Context, bin string) (_ *cluster, err error) {
	user, err := serverUser()
	if err != nil {
		return nil, err
	}
	dir, err := serverDir(user)
	if err != nil {
		return nil, err
	}
	c := &cluster{bin: bin, dir: dir, data: filepath.Join(dir, "data"), user: user}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.remove())
		}
	}()
	if err := c.init(ctx); err != nil {
		return nil, err
	}
	err = onFreePort(ctx, func(port int) error {
		c.port = port
		return c.start(ctx)
	})
	if err != nil {
		return nil, err
	}
	return c, nil
}

// init makes the data directory.
func (c *cluster) init(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, initTimeout)
	defer cancel()
	p, err := start(command{
		path:   filepath.Join(c.bin, "initdb"),
		args:   []string{"-D", c.data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"},
		dir:    c.dir,
		user:   c.user,
		orphan: syscall.SIGKILL,
		log:    filepath.Join(c.dir, "initdb.log"),
	})
	if err != nil {
		return err
	}
	select {
	case <-p.exited:
	case <-ctx.Done():
		return errors.Join(fmt.Errorf("initdb: %w", ctx.Err()), p.kill())
	}
	if p.err != nil {
		return fmt.Errorf("initdb: %w:\n%s", p.err, p.logTail())
	}
	return nil
}

// start starts the server on its port and waits until it answers.
func (c *cluster) start(ctx context.Context) error {
	args := []string{"-D", c.data, "-p", strconv.Itoa(c.port)}
	for _, setting := range []string{
		"listen_addresses=127.0.0.1",
		"unix_socket_directories=",
		// The data need not outlive the machine, only the server.
		"fsync=off",
		// Memory that outlives a killed server stays in its directory.
		"dynamic_shared_memory_type=mmap",
		"shared_buffers=32MB",
		"log_min_messages=warning",
	} {
		args = append(args, "-c", setting)
	}
	p, err := start(command{
		path: filepath.Join(c.bin, "postgres"),
		args: args,
		dir:  c.dir,
		user: c.user,
		// PostgreSQL's immediate shutdown, which frees its shared memory.
		orphan: syscall.SIGQUIT,
		log:    filepath.Join(c.dir, "postgres.log"),
	})
	if err != nil {
		return err
	}
	c.process, c.killed = p, false
	return p.waitReady(ctx, c.ready)
}

// ready reports whether this server answers, and not another that took its port
// first.
func (c *cluster) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, c.url(maintenanceDB))
	if err != nil {
		return err
	}
	var data string
	queryErr := conn.QueryRow(ctx, "SHOW data_directory").Scan(&data)
	if err := errors.Join(queryErr, conn.Close(ctx)); err != nil {
		return err
	}
	if data != c.data {
		return fmt.Errorf("another server answers on port %d", c.port)
	}
	return nil
}

func (c *cluster) kill() error {
	c.killed = true
	return c.process.kill()
}

// stop is PostgreSQL's fast shutdown: it ends all sessions and loses nothing.
func (c *cluster) stop() error { return c.process.end(syscall.SIGINT) }

func (c *cluster) restart(ctx context.Context) error {
	if err := c.stop(); err != nil {
		return err
	}
	return whileBusy(ctx, func() error { return c.start(ctx) })
}

// exec runs one statement outside the tests' databases.
func (c *cluster) exec(ctx context.Context, statement string) error {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	conn, err := pgx.Connect(ctx, c.url(maintenanceDB))
	if err != nil {
		return err
	}
	_, err = conn.Exec(ctx, statement)
	return errors.Join(err, conn.Close(ctx))
}

func (c *cluster) url(database string) string {
	return fmt.Sprintf("postgres://postgres@%s/%s?sslmode=disable", loopback(c.port), database)
}

// remove stops the server at once and deletes what it kept. The shared memory
// of a killed one is freed by starting it once more.
func (c *cluster) remove() error {
	var restartErr, endErr error
	if c.killed {
		restartErr = c.restart(context.Background())
	}
	if c.process != nil {
		endErr = c.process.end(syscall.SIGQUIT)
	}
	return errors.Join(restartErr, endErr, os.RemoveAll(c.dir))
}
