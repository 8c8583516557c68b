package testenv

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
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
// test. The package's tests share its server, which runs without fsync; the first
// test that asks starts it, and [Main] stops it.
func Postgres(t testing.TB) string {
	t.Helper()
	return newDatabase(t, nil)
}

// FilledPostgres is [Postgres] with what fill writes to an empty database at a URL. fill is
// called only by the package's first test that asks; all tests get a copy.
func FilledPostgres(t testing.TB, fill func(url string) error) string {
	t.Helper()
	return newDatabase(t, fill)
}

func newDatabase(t testing.TB, fill func(url string) error) string {
	t.Helper()
	bin := postgresBin(t)
	server, n, err := shared.next(t.Context(), bin)
	template := "template1"
	if err == nil && fill != nil {
		template, err = shared.filled(t.Context(), server, fill)
	}
	if err != nil {
		t.Fatalf("postgres: %v", err)
	}
	name := fmt.Sprintf("test_%d", n)
	if err := server.exec(t.Context(), "CREATE DATABASE "+name+" TEMPLATE "+template); err != nil {
		t.Fatalf("postgres: %v", err)
	}
	t.Cleanup(func() {
		// FORCE, because a failed test may have left connections behind.
		if err := server.exec(context.WithoutCancel(t.Context()), "DROP DATABASE "+name+" WITH (FORCE)"); err != nil {
			t.Errorf("postgres: %v", err)
		}
	})
	return server.url(name)
}

// PostgresCluster is a PostgreSQL server that only one test uses.
type PostgresCluster struct {
	t      testing.TB
	server *postgres
}

// PostgresServer starts a server that ends with the test, for tests that kill it. It
// takes a second or two: if any database will do, use [Postgres].
func PostgresServer(t testing.TB) *PostgresCluster {
	t.Helper()
	return ownPostgres(t, initdb)
}

func ownPostgres(t testing.TB, data dataOf) *PostgresCluster {
	t.Helper()
	server, err := newPostgres(t.Context(), postgresBin(t), data)
	if err != nil {
		t.Fatalf("postgres: %v", err)
	}
	t.Cleanup(func() {
		if err := server.remove(); err != nil {
			t.Errorf("postgres: %v", err)
		}
	})
	return &PostgresCluster{t, server}
}

// Standby starts a second server, which follows this one and is read-only until it is
// promoted.
func (p *PostgresCluster) Standby() *PostgresCluster {
	p.t.Helper()
	return ownPostgres(p.t, func(s *postgres) Program {
		return s.command("pg_basebackup", syscall.SIGKILL, "-d", p.URL(), "-R", "-c", "fast", "--no-sync")
	})
}

// Promote waits until the standby has all the primary's data, and makes it accept writes.
func (p *PostgresCluster) Promote(primary *PostgresCluster) {
	p.t.Helper()
	p.must(primary.server.withConn(p.t.Context(), func(ctx context.Context, conn *pgx.Conn) error {
		var end string
		if err := conn.QueryRow(ctx, `SELECT pg_current_wal_lsn()`).Scan(&end); err != nil {
			return err
		}
		return p.server.withConn(ctx, func(ctx context.Context, conn *pgx.Conn) error {
			for behind := true; behind; {
				if err := conn.QueryRow(ctx, `SELECT pg_last_wal_replay_lsn() < $1::pg_lsn FROM pg_sleep(0.01)`, end).Scan(&behind); err != nil {
					return err
				}
			}
			_, err := conn.Exec(ctx, `SELECT pg_promote()`)
			return err
		})
	}))
}

// Exec runs a statement.
func (p *PostgresCluster) Exec(statement string) {
	p.t.Helper()
	p.must(p.server.exec(p.t.Context(), statement))
}

// URL returns the URL of the server's only database, which is empty at first. It
// also lists the addresses of others.
func (p *PostgresCluster) URL(others ...*PostgresCluster) string {
	here := loopback(p.server.port)
	all := here
	for _, other := range others {
		all += "," + loopback(other.server.port)
	}
	return strings.Replace(p.server.url(maintenanceDB), here, all, 1)
}

// Kill ends the server with SIGKILL. Its sessions end a moment later.
func (p *PostgresCluster) Kill() { p.must(p.server.kill()) }

// Stop shuts the server down cleanly, without waiting for its clients.
func (p *PostgresCluster) Stop() { p.must(p.server.stop()) }

// Restart starts the server again at the same address, with everything that was
// committed. If it runs, it is stopped first.
func (p *PostgresCluster) Restart() { p.must(p.server.restart(p.t.Context())) }

func (p *PostgresCluster) must(err error) {
	p.t.Helper()
	if err != nil {
		p.t.Fatalf("postgres: %v", err)
	}
}

// postgresBin returns the directory of PostgreSQL's programs, or ends the test.
func postgresBin(t testing.TB) string {
	t.Helper()
	// initdb in PATH may be a link; the other programs are beside the real one.
	program, err := filepath.EvalSymlinks(installed(t, "postgresql", "initdb"))
	if err != nil {
		t.Fatalf("postgres: %v", err)
	}
	return filepath.Dir(program)
}

// shared is the server that all tests of the package share.
var shared sharedServer

// sharedServer is a server that is started on its first use.
type sharedServer struct {
	mu        sync.Mutex // guards the next four fields
	enabled   bool       // stop will be called
	server    *postgres
	err       error // of the start
	databases int

	fill    sync.Once
	fillErr error
}

func (s *sharedServer) enable() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.enabled = true
}

// next returns the running server and the number of an unused database.
func (s *sharedServer) next(ctx context.Context, bin string) (*postgres, int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.enabled {
		return nil, 0, errors.New("nothing will stop the shared server: the package needs func TestMain(m *testing.M) { testenv.Main(m) }")
	}
	if s.server == nil && s.err == nil {
		s.server, s.err = newPostgres(ctx, bin, initdb)
	}
	s.databases++
	return s.server, s.databases, s.err
}

// filled returns the name of a database that the first call fills.
func (s *sharedServer) filled(ctx context.Context, server *postgres, fill func(url string) error) (string, error) {
	const name = "filled"
	s.fill.Do(func() {
		if s.fillErr = server.exec(ctx, "CREATE DATABASE "+name); s.fillErr == nil {
			s.fillErr = fill(server.url(name))
		}
	})
	return name, s.fillErr
}

func (s *sharedServer) stop() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.enabled = false
	if s.server == nil {
		return nil
	}
	server := s.server
	s.server = nil
	return server.remove()
}

// maintenanceDB is the database that initdb creates.
const maintenanceDB = "postgres"

// postgres is a PostgreSQL server with its own data.
type postgres struct {
	bin       string
	dir, data string // data is PostgreSQL's directory in dir
	user      *syscall.Credential
	port      int
	process   *Process
	killed    bool // its shared memory was not freed
}

// dataOf returns the program that creates a server's data.
type dataOf func(*postgres) Program

func initdb(p *postgres) Program {
	return p.command("initdb", syscall.SIGKILL, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")
}

// newPostgres creates a data directory and starts a server on it.
func newPostgres(ctx context.Context, bin string, data dataOf) (_ *postgres, err error) {
	user, err := serverUser()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "klinghook-postgres-")
	if err != nil {
		return nil, err
	}
	p := &postgres{bin: bin, dir: dir, data: filepath.Join(dir, "data"), user: user}
	defer func() {
		if err != nil {
			err = errors.Join(err, p.remove())
		}
	}()
	if user != nil {
		if err := os.Chown(dir, int(user.Uid), int(user.Gid)); err != nil {
			return nil, err
		}
	}
	if err := p.init(ctx, data(p)); err != nil {
		return nil, err
	}
	return p, onFreePort(ctx, func(port int) error {
		p.port = port
		return p.start(ctx)
	})
}

// serverUser returns the user that runs PostgreSQL: nil for the tests' own user, unless
// that is root, which PostgreSQL refuses.
func serverUser() (*syscall.Credential, error) {
	if os.Getuid() != 0 {
		return nil, nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		u, err = user.Lookup("nobody")
	}
	if err != nil {
		return nil, fmt.Errorf("find a user for PostgreSQL, which does not run as root: %w", err)
	}
	uid, uidErr := strconv.ParseUint(u.Uid, 10, 32)
	gid, gidErr := strconv.ParseUint(u.Gid, 10, 32)
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, errors.Join(uidErr, gidErr)
}

// command returns a run of one of PostgreSQL's programs, with messages in English.
func (p *postgres) command(name string, orphan syscall.Signal, args ...string) Program {
	return Program{
		Path: filepath.Join(p.bin, name), Args: append([]string{"-D", p.data}, args...), Env: append(os.Environ(), "LC_ALL=C"),
		Dir: p.dir, Log: filepath.Join(p.dir, name+".log"), user: p.user, orphan: orphan,
	}
}

func (p *postgres) init(ctx context.Context, program Program) error {
	creation, err := start(program)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, initTimeout)
	defer cancel()
	select {
	case <-creation.exited:
	case <-ctx.Done():
		return errors.Join(fmt.Errorf("%s: %w", program.name(), ctx.Err()), creation.End(syscall.SIGKILL))
	}
	if creation.err != nil {
		return fmt.Errorf("%s: %w:\n%s", program.name(), creation.err, creation.logTail())
	}
	return nil
}

// start starts the server on its port and waits until it answers.
func (p *postgres) start(ctx context.Context) error {
	// waitReady looks for "in use" in the log, which must be only from this start.
	if err := os.RemoveAll(filepath.Join(p.dir, "postgres.log")); err != nil {
		return err
	}
	args := []string{"-p", strconv.Itoa(p.port)}
	for _, setting := range []string{
		"listen_addresses=127.0.0.1",
		"unix_socket_directories=",
		"fsync=off",                       // The data must survive a kill of the server, but no crash of the machine.
		"dynamic_shared_memory_type=mmap", // A killed server leaves the files in its directory.
		"shared_buffers=32MB",
		"log_min_messages=warning",
	} {
		args = append(args, "-c", setting)
	}
	// SIGQUIT is PostgreSQL's immediate shutdown, which frees its shared memory.
	process, err := start(p.command("postgres", syscall.SIGQUIT, args...))
	if err != nil {
		return err
	}
	p.process, p.killed = process, false
	return process.waitReady(ctx, p.ready)
}

// ready reports whether this server answers, and not another that took its port.
func (p *postgres) ready(ctx context.Context) error {
	return p.withConn(ctx, func(ctx context.Context, conn *pgx.Conn) error {
		var data string
		err := conn.QueryRow(ctx, "SHOW data_directory").Scan(&data)
		if resolved, _ := filepath.EvalSymlinks(p.data); err == nil && data != p.data && data != resolved {
			err = fmt.Errorf("another server answers on port %d", p.port)
		}
		return err
	})
}

// exec runs one statement outside the tests' databases.
func (p *postgres) exec(ctx context.Context, statement string) error {
	return p.withConn(ctx, func(ctx context.Context, conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, statement)
		return err
	})
}

func (p *postgres) withConn(ctx context.Context, do func(context.Context, *pgx.Conn) error) error {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	conn, err := pgx.Connect(ctx, p.url(maintenanceDB))
	if err != nil {
		return err
	}
	return errors.Join(do(ctx, conn), conn.Close(ctx))
}

func (p *postgres) url(database string) string {
	return fmt.Sprintf("postgres://postgres@%s/%s?sslmode=disable", loopback(p.port), database)
}

func (p *postgres) kill() error {
	p.killed = true
	return p.process.End(syscall.SIGKILL)
}

// stop is PostgreSQL's fast shutdown: it ends all sessions and loses nothing.
func (p *postgres) stop() error { return p.process.End(syscall.SIGINT) }

func (p *postgres) restart(ctx context.Context) error {
	if err := p.stop(); err != nil {
		return err
	}
	return whileBusy(ctx, func() error { return p.start(ctx) })
}

// remove stops the server at once and deletes its data. A killed server is started
// once more, which frees its shared memory.
func (p *postgres) remove() error {
	var restartErr, endErr error
	if p.killed {
		restartErr = p.restart(context.Background())
	}
	if p.process != nil {
		endErr = p.process.End(syscall.SIGQUIT)
	}
	return errors.Join(restartErr, endErr, os.RemoveAll(p.dir))
}
