package testenv

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// RedisServer is a redis-server that only one test uses. Without [WithAOF] it stores
// nothing on disk, so that a restart empties it.
type RedisServer struct {
	t              testing.TB
	program, dir   string
	config         []string
	cluster        bool
	sentinel       bool      // it reads, and rewrites, a configuration file
	tls            *tlsFiles // nil without TLS
	user, password string    // of this package's own client
	port           int
	process        *Process
}

// RedisOption changes how a server of [Redis] runs.
type RedisOption func(*RedisServer)

// WithAOF makes the server write an append-only file, which it reads after a
// restart. fsync is Redis's appendfsync: "always", "everysec" or "no".
func WithAOF(fsync string) RedisOption { return with("--appendonly", "yes", "--appendfsync", fsync) }

func with(args ...string) RedisOption {
	return func(s *RedisServer) { s.config = append(s.config, args...) }
}

// WithCluster makes the server a cluster of one node, which refuses scripts and
// transactions with keys of several slots, as larger clusters do.
func WithCluster() RedisOption {
	return func(s *RedisServer) {
		s.cluster = true
		s.config = append(s.config, "--cluster-enabled", "yes")
	}
}

// WithUser makes the server accept only this user, with these ACL rules; without
// rules, the user may do everything.
func WithUser(name, password string, rules ...string) RedisOption {
	return func(s *RedisServer) {
		s.user, s.password = name, password
		if len(rules) == 0 {
			rules = []string{"~*", "&*", "+@all"}
		}
		s.config = append(append(s.config, "--user", name, "on", ">"+password), rules...)
		s.config = append(s.config, "--user", "default", "off")
	}
}

// Redis starts a server that ends with the test.
func Redis(t testing.TB, opts ...RedisOption) *RedisServer {
	t.Helper()
	s := newRedis(t, opts...)
	if s.cluster {
		if err := assignSlots(t.Context(), []*RedisServer{s}); err != nil {
			t.Fatalf("redis: %v", err)
		}
	}
	return s
}

// newRedis is Redis without assigning a cluster's slots.
func newRedis(t testing.TB, opts ...RedisOption) *RedisServer {
	t.Helper()
	s := &RedisServer{t: t, program: installed(t, "redis", "redis-server"), dir: t.TempDir()}
	for _, opt := range opts {
		opt(s)
	}
	t.Cleanup(s.Kill)
	s.must(onFreePort(t.Context(), func(port int) error {
		s.port = port
		return s.start(t.Context())
	}))
	return s
}

// Addr returns the server's host:port, which stays the same.
func (s *RedisServer) Addr() string { return loopback(s.port) }

// URL returns the server's address as a redis:// URL with database 0, for a server
// without TLS and users.
func (s *RedisServer) URL() string { return "redis://" + s.Addr() + "/0" }

// Kill ends the server with SIGKILL and returns when it has ended.
func (s *RedisServer) Kill() { s.end(syscall.SIGKILL) }

// Stop ends the server with SIGTERM and returns when it has ended.
func (s *RedisServer) Stop() { s.end(syscall.SIGTERM) }

// Pause stops the server with SIGSTOP. Until Resume, connections succeed but get no answer.
func (s *RedisServer) Pause() { s.must(s.process.Signal(syscall.SIGSTOP)) }

// Resume lets a paused server continue.
func (s *RedisServer) Resume() { s.must(s.process.Signal(syscall.SIGCONT)) }

// Restart starts the server again at the same address, with the data it stored. If it
// runs, it is stopped first.
func (s *RedisServer) Restart() {
	s.t.Helper()
	s.Stop()
	s.must(whileBusy(s.t.Context(), func() error { return s.start(s.t.Context()) }))
}

func (s *RedisServer) end(sig syscall.Signal) {
	s.t.Helper()
	if s.process != nil {
		s.must(s.process.End(sig))
	}
}

func (s *RedisServer) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatalf("redis: %v", err)
	}
}

// start starts the server on its port and waits until it answers.
func (s *RedisServer) start(ctx context.Context) error {
	log := filepath.Join(s.dir, "redis.log")
	// waitReady looks for "in use" in the log, which must be only from this start.
	if err := os.RemoveAll(log); err != nil {
		return err
	}
	process, err := start(Program{Path: s.program, Args: s.args(), Dir: s.dir, Log: log, orphan: syscall.SIGKILL})
	if err != nil {
		return err
	}
	s.process = process
	return process.waitReady(ctx, func(ctx context.Context) error { return s.answers(ctx, process.PID()) })
}

func (s *RedisServer) args() []string {
	args := []string{"--save", ""}
	if s.sentinel {
		args = []string{filepath.Join(s.dir, sentinelConf), "--sentinel"}
	}
	port := []string{"--port", strconv.Itoa(s.port)}
	if s.tls != nil {
		port = []string{"--port", "0", "--tls-port", strconv.Itoa(s.port)}
	}
	args = append(append(args, port...), "--bind", "127.0.0.1", "--dir", s.dir, "--daemonize", "no")
	return append(args, s.config...)
}

// answers reports whether the server with this process id answers, and not another
// that took its port. A server that is loading its data does not answer.
func (s *RedisServer) answers(ctx context.Context, pid int) error {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", s.Addr()) // go-redis would log a refused connection
	if err != nil {
		return err
	}
	if err := conn.Close(); err != nil {
		return err
	}
	info, err := s.ask(ctx, "INFO", "server")
	if err == nil && !strings.Contains(info, fmt.Sprintf("process_id:%d\r\n", pid)) {
		err = fmt.Errorf("another server answers at %s", s.Addr())
	}
	if err == nil {
		_, err = s.ask(ctx, "PING")
	}
	return err
}

// ask returns the answer to one command, over a new connection and without retries.
func (s *RedisServer) ask(ctx context.Context, command ...any) (string, error) {
	options := &redis.Options{
		Addr: s.Addr(), Username: s.user, Password: s.password, Protocol: 2, DisableIdentity: true,
		MaxRetries: -1, DialerRetries: 1, PoolSize: 1,
	}
	if s.tls != nil {
		options.TLSConfig = s.tls.config
	}
	client := redis.NewClient(options)
	answer, err := client.Do(ctx, command...).Text()
	return answer, errors.Join(err, client.Close())
}

// await asks until done accepts the answer.
func (s *RedisServer) await(ctx context.Context, done func(answer string) bool, command ...any) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	tick := time.NewTicker(4 * pollInterval)
	defer tick.Stop()
	for {
		answer, err := s.ask(ctx, command...)
		if err != nil {
			return fmt.Errorf("%v: %w", command, err)
		}
		if done(answer) {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("%v still answers:\n%s", command, answer)
		}
	}
}
