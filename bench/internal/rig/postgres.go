package rig

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

// Postgres is a PostgreSQL server with its settings as they are delivered: it syncs
// each commit.
type Postgres struct {
	*Process
	bin, addr string
	databases int
}

// StartPostgres starts an empty one.
func (r *Rig) StartPostgres(ctx context.Context) (_ *Postgres, err error) {
	bin, err := postgresBin()
	if err != nil {
		return nil, err
	}
	dir, err := r.Dir("postgres")
	if err != nil {
		return nil, err
	}
	as, err := asServerUser(dir)
	if err != nil {
		return nil, err
	}
	data := filepath.Join(dir, "data")
	initdb := slices.Concat(as, []string{filepath.Join(bin, "initdb"), "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C"})
	cmd := exec.CommandContext(ctx, initdb[0], initdb[1:]...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("initdb: %w:\n%s", err, out)
	}
	addr, err := freeAddr(ctx)
	if err != nil {
		return nil, err
	}
	_, port, _ := net.SplitHostPort(addr)
	server := slices.Concat(as, []string{filepath.Join(bin, "postgres"), "-D", data, "-p", port, "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="})
	process, err := r.start(program{name: "postgres", path: server[0], args: server[1:], dir: dir})
	if err != nil {
		return nil, err
	}
	pg := &Postgres{Process: process, bin: bin, addr: addr}
	err = process.await(ctx, 50*time.Millisecond, func(ctx context.Context) error { return pg.Exec(ctx, "postgres", "SELECT 1") })
	if err != nil {
		return nil, errors.Join(err, pg.Stop())
	}
	return pg, nil
}

// Stop ends it without waiting for clients and removes what it kept.
func (pg *Postgres) Stop() error {
	return errors.Join(pg.End(syscall.SIGINT), os.RemoveAll(pg.dir))
}

// NewDatabase makes an empty database and returns its name.
func (pg *Postgres) NewDatabase(ctx context.Context) (string, error) {
	pg.databases++
	name := "bench_" + strconv.Itoa(pg.databases)
	return name, pg.Exec(ctx, "postgres", "CREATE DATABASE "+name)
}

// URL returns a database's URL.
func (pg *Postgres) URL(database string) string {
	return fmt.Sprintf("postgres://postgres@%s/%s?sslmode=disable", pg.addr, database)
}

// Program returns the path of one of PostgreSQL's programs, and the arguments that
// connect it.
func (pg *Postgres) Program(name string) (path string, args []string) {
	host, port, _ := net.SplitHostPort(pg.addr)
	return filepath.Join(pg.bin, name), []string{"-h", host, "-p", port, "-U", "postgres"}
}

// Connect opens a connection, which the caller closes.
func (pg *Postgres) Connect(ctx context.Context, database string) (*pgx.Conn, error) {
	return pgx.Connect(ctx, pg.URL(database))
}

// Exec runs one statement.
func (pg *Postgres) Exec(ctx context.Context, database, statement string) error {
	conn, err := pg.Connect(ctx, database)
	if err != nil {
		return err
	}
	_, err = conn.Exec(ctx, statement)
	return errors.Join(err, conn.Close(ctx))
}

// Count runs a query that returns one number.
func (pg *Postgres) Count(ctx context.Context, database, query string) (n int64, err error) {
	conn, err := pg.Connect(ctx, database)
	if err != nil {
		return 0, err
	}
	err = conn.QueryRow(ctx, query).Scan(&n)
	return n, errors.Join(err, conn.Close(ctx))
}

// postgresBin returns the folder of PostgreSQL's programs, the newest where there are
// several.
func postgresBin() (string, error) {
	if path, err := exec.LookPath("initdb"); err == nil {
		// It may be a link; the server's other programs are beside the real one.
		path, err = filepath.EvalSymlinks(path)
		return filepath.Dir(path), err
	}
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if err != nil || len(found) == 0 {
		return "", errors.New("PostgreSQL is not installed (Debian, Ubuntu: apt-get install postgresql)")
	}
	version := func(path string) int {
		v, _ := strconv.Atoi(filepath.Base(filepath.Dir(filepath.Dir(path)))) // 0 comes last
		return v
	}
	return filepath.Dir(slices.MaxFunc(found, func(a, b string) int { return version(a) - version(b) })), nil
}

// asServerUser returns the command that runs another as PostgreSQL's user, since it
// refuses to be root, and gives that user the folder; nothing when we are not root.
func asServerUser(dir string) ([]string, error) {
	if os.Getuid() != 0 {
		return nil, nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		return nil, fmt.Errorf("find a user for PostgreSQL, which does not run as root: %w", err)
	}
	uid, uidErr := strconv.Atoi(u.Uid)
	gid, gidErr := strconv.Atoi(u.Gid)
	if err := errors.Join(uidErr, gidErr, os.Chown(dir, uid, gid)); err != nil {
		return nil, err
	}
	// A change of user would also take back what ends it with the harness.
	return []string{"setpriv", "--reuid", u.Uid, "--regid", u.Gid, "--clear-groups", "--pdeathsig", "QUIT"}, nil
}
