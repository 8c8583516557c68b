package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

// redisServer is an empty Redis that appends to its file, like a production one.
type redisServer struct {
	addr string // where contestants connect to: the server or its proxy
	port string // of the server
}

// startRedis delays each direction of every connection by the given time, if any.
func (r *rig) startRedis(ctx context.Context, each time.Duration) (rd redisServer, err error) {
	addr, err := freeAddr(ctx)
	if err != nil {
		return rd, err
	}
	_, port, _ := net.SplitHostPort(addr)
	// Without a worker the file grows as no real queue's does: never rewrite it.
	args := strings.Fields("--port " + port + " --bind 127.0.0.1 --appendonly yes --appendfsync everysec --auto-aof-rewrite-percentage 0")
	_, err = r.start(ctx, program{path: "redis-server", args: append(args, "--save", ""), ready: listens(addr)})
	if err != nil || each == 0 {
		return redisServer{addr, port}, err
	}
	proxy, err := freeAddr(ctx)
	if err != nil {
		return rd, err
	}
	_, err = r.start(ctx, program{path: filepath.Join(r.dir, "contestant"), args: []string{"delay", proxy, addr, each.String()}, ready: listens(proxy)})
	return redisServer{proxy, port}, err
}

// awaitQueued waits until Redis has a key for each of n tasks: some may come late, from
// the spool. It fails if an answer of 200 leaves no task behind.
func (rd redisServer) awaitQueued(ctx context.Context, n int) error {
	var keys int
	err := until(ctx, 100*time.Millisecond, 30*time.Second, func(ctx context.Context) (bool, error) {
		out, err := exec.CommandContext(ctx, "redis-cli", "-p", rd.port, "dbsize").Output()
		if err == nil {
			keys, err = strconv.Atoi(strings.TrimSpace(string(out)))
		}
		return keys >= n, err
	})
	if err != nil {
		return fmt.Errorf("%d events were answered with 200, and Redis has %d keys: %w", n, keys, err)
	}
	return nil
}

// postgres is a PostgreSQL server with default settings: it syncs each commit. Its
// database has klinghook's tables.
type postgres struct {
	bin, url string
	conn     *pgx.Conn
}

func (r *rig) startPostgres(ctx context.Context) (pg postgres, err error) {
	bins, err := filepath.Glob("/usr/lib/postgresql/*/bin")
	if err != nil || len(bins) == 0 {
		return pg, errors.New("PostgreSQL is not installed: apt-get install postgresql")
	}
	addr, err := freeAddr(ctx)
	if err != nil {
		return pg, err
	}
	dir, err := os.MkdirTemp(r.dir, "")
	if err != nil {
		return pg, err
	}
	as, err := serverUser(dir)
	if err != nil {
		return pg, err
	}
	pg = postgres{bin: bins[len(bins)-1], url: fmt.Sprintf("postgres://postgres@%s/postgres?sslmode=disable", addr)}
	initdb := exec.CommandContext(ctx, filepath.Join(pg.bin, "initdb"), "-D", "data", "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C")
	initdb.Dir, initdb.SysProcAttr = dir, &syscall.SysProcAttr{Credential: as}
	if out, err := initdb.CombinedOutput(); err != nil {
		return pg, fmt.Errorf("initdb: %w:\n%s", err, out)
	}
	_, port, _ := net.SplitHostPort(addr)
	_, err = r.start(ctx, program{
		path: filepath.Join(pg.bin, "postgres"), dir: dir, user: as,
		args: []string{"-D", "data", "-p", port, "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="},
		ready: func(ctx context.Context) (err error) {
			pg.conn, err = pgx.Connect(ctx, pg.url)
			return err
		},
	})
	if err != nil {
		return pg, err
	}
	r.cleanups = append(r.cleanups, func() error { return pg.conn.Close(ctx) })
	migrate := exec.CommandContext(ctx, filepath.Join(r.root, "bin", "klinghook"), "migrate")
	migrate.Env = []string{"HOME=" + dir, "KLINGHOOK_DATABASE_URL=" + pg.url}
	if out, err := migrate.CombinedOutput(); err != nil {
		return pg, fmt.Errorf("migrate: %w:\n%s", err, out)
	}
	return pg, nil
}

// serverUser returns PostgreSQL's user and gives it the folder if we are root: PostgreSQL
// refuses to run as root.
func serverUser(dir string) (*syscall.Credential, error) {
	if os.Getuid() != 0 {
		return nil, nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		return nil, err
	}
	uid, uidErr := strconv.Atoi(u.Uid)
	gid, gidErr := strconv.Atoi(u.Gid)
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, errors.Join(uidErr, gidErr, os.Chown(dir, uid, gid))
}
