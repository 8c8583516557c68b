package testenv

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// RedisServer is a redis-server that one test has for itself. Unless [WithAOF]
// says otherwise it keeps nothing on disk, so that a restart empties it.
type RedisServer struct {
	t       testing.TB
	program string
	dir     string
	config  []string
	cluster bool
	port    int
	process *process
}

// RedisOption changes how a server of [Redis] runs.
type RedisOption func(*RedisServer)

// WithAOF makes the server keep an append-only file, which it reads again after
// a restart. fsync is Redis's appendfsync: "always", "everysec" or "no".
func WithAOF(fsync string) RedisOption {
	return func(s *RedisServer) {
		s.config = append(s.config, "--appendonly", "yes", "--appendfsync", fsync)
	}
}

// WithCluster makes the server a cluster of one node, which refuses what it would
// refuse as one of many: a script or a transaction with keys of several slots.
func WithCluster() RedisOption {
	return func(s *RedisServer) {
		s.cluster = true
		s.config = append(s.config, "--cluster-enabled", "yes")
	}
}

// Redis starts a server that ends with the test. The test is skipped where
// redis-server is not installed.
func Redis(t testing.TB, opts ...RedisOption) *RedisServer {
	t.Helper()
	s := &RedisServer{t: t, program: redisProgram(t), dir: t.TempDir()}
	for _, opt := range opts {
		opt(s)
	}
	t.Cleanup(s.Kill)
	err := onFreePort(t.Context(), func(port int) error {
		s.port = port
		return s.start(t.Context())
	})
	if err == nil && s.cluster {
		err = takeSlots(t.Context(), s.Addr())
	}
	if err != nil {
		t.Fatalf("redis: %v", err)
	}
	return s
}

// Addr returns the server's host:port, the same for as long as the test runs.
func (s *RedisServer) Addr() string { return loopback(s.port) }

// URL returns the server's address as a redis:// URL with database 0.
func (s *RedisServer) URL() string { return "redis://" + s.Addr() + "/0" }

// Kill ends the server with SIGKILL, as a crash would, and returns once it is
// gone.
func (s *RedisServer) Kill() { s.end(syscall.SIGKILL) }

// Stop ends the server in good order with SIGTERM and returns once it is gone.
func (s *RedisServer) Stop() { s.end(syscall.SIGTERM) }

// Pause stops the server with SIGSTOP: connections to it are accepted and kept,
// and nothing is answered until Resume.
func (s *RedisServer) Pause() { s.signal(syscall.SIGSTOP) }

// Resume lets a paused server go on where it was.
func (s *RedisServer) Resume() { s.signal(syscall.SIGCONT) }

// Restart brings the server back at the same address and with the data that it
// kept, and returns once it answers. A running one is stopped first.
func (s *RedisServer) Restart() {
	s.t.Helper()
	s.Stop()
	if err := whileBusy(s.t.Context(), func() error { return s.start(s.t.Context()) }); err != nil {
		s.t.Fatalf("restart redis: %v", err)
	}
}

// redisProgram returns the path of redis-server, or ends the test.
func redisProgram(t testing.TB) string {
	t.Helper()
	program := findProgram("redis-server", "/usr/bin", "/usr/local/bin", "/opt/homebrew/bin")
	if program == "" {
		missing(t, "redis-server is not installed (Debian, Ubuntu: apt-get install redis-server; macOS: brew install redis)")
	}
	return program
}

func (s *RedisServer) end(sig syscall.Signal) {
	s.t.Helper()
	if s.process == nil {
		return
	}
	if err := s.process.end(sig); err != nil {
		s.t.Fatalf("redis: %v", err)
	}
}

func (s *RedisServer) signal(sig syscall.Signal) {
	s.t.Helper()
	if err := s.process.signal(sig); err != nil {
		s.t.Fatalf("redis: %v", err)
	}
}

// start starts the server on its port and waits until it answers.
func (s *RedisServer) start(ctx context.Context) error {
	args := []string{
		"--port", strconv.Itoa(s.port), "--bind", "127.0.0.1",
		"--dir", s.dir, "--save", "", "--daemonize", "no",
	}
	p, err := start(command{
		path:   s.program,
		args:   append(args, s.config...),
		dir:    s.dir,
		orphan: syscall.SIGKILL,
		log:    filepath.Join(s.dir, "redis.log"),
	})
	if err != nil {
		return err
	}
	s.process = p
	return p.waitReady(ctx, func(ctx context.Context) error { return isRedis(ctx, s.Addr(), p.pid) })
}

// isRedis reports whether the server with this process id answers: when two
// tests chose the same port, the other's would answer just as well. A server
// that still loads its data does not count as answering.
//
// It speaks Redis's protocol itself, because a client that retries and keeps
// connections is no good for looking whether there is a server yet.
func isRedis(ctx context.Context, addr string, pid int) error {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	err = converse(conn, pid)
	return errors.Join(err, conn.Close())
}

// takeSlots gives a cluster's only node all slots, and waits until it serves them.
func takeSlots(ctx context.Context, addr string) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for command := "CLUSTER ADDSLOTSRANGE 0 16383"; ; command = "CLUSTER INFO" {
		answer, err := askRedis(ctx, addr, command)
		switch {
		case err != nil:
			return err
		case strings.Contains(answer, "cluster_state:ok"):
			return nil
		case strings.HasPrefix(answer, "-"):
			return fmt.Errorf("%s: %s", command, answer)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("the cluster does not serve its slots: %s", answer)
		}
	}
}

// askRedis returns what a server answers to a command.
func askRedis(ctx context.Context, addr, command string) (string, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	if err != nil {
		return "", err
	}
	deadline, _ := ctx.Deadline()
	if err := conn.SetDeadline(deadline); err != nil {
		return "", errors.Join(err, conn.Close())
	}
	if _, err := io.WriteString(conn, command+"\r\nQUIT\r\n"); err != nil {
		return "", errors.Join(err, conn.Close())
	}
	answer, err := io.ReadAll(conn)
	return string(answer), errors.Join(err, conn.Close())
}

func converse(conn net.Conn, pid int) error {
	if err := conn.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		return err
	}
	if _, err := io.WriteString(conn, "PING\r\nINFO server\r\nQUIT\r\n"); err != nil {
		return err
	}
	answer, err := io.ReadAll(conn)
	if err != nil {
		return err
	}
	pong, info, _ := strings.Cut(string(answer), "\r\n")
	if pong != "+PONG" {
		return fmt.Errorf("PING: %s", pong)
	}
	if !strings.Contains(info, fmt.Sprintf("process_id:%d\r\n", pid)) {
		return fmt.Errorf("another server answers at %s", conn.RemoteAddr())
	}
	return nil
}
