package testenv

import (
	"context"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
)

// RedisServer is a redis-server that one test has for itself. Unless [WithAOF]
// says otherwise it keeps nothing on disk, so that a restart empties it.
type RedisServer struct {
	t       testing.TB
	program string
	dir     string
	config  []string
	cluster bool
	// sentinel makes it a Sentinel, which reads and rewrites its configuration in a
	// file.
	sentinel bool
	tls      *TLSFiles // nil without TLS
	// user and password are what this package itself logs in with.
	user, password string
	port           int
	process        *process
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

// WithUser makes the server let in that user only, who may do what the rules of
// Redis's ACL say; everything, when there are none.
func WithUser(name, password string, rules ...string) RedisOption {
	return func(s *RedisServer) {
		s.user, s.password = name, password
		if len(rules) == 0 {
			rules = []string{"~*", "&*", "+@all"}
		}
		s.config = append(s.config, "--user", name, "on", ">"+password)
		s.config = append(s.config, rules...)
		s.config = append(s.config, "--user", "default", "off")
	}
}

// Redis starts a server that ends with the test. The test is skipped where
// redis-server is not installed.
func Redis(t testing.TB, opts ...RedisOption) *RedisServer {
	t.Helper()
	s := newRedis(t, opts...)
	if s.cluster {
		if err := takeSlots(t.Context(), []*RedisServer{s}); err != nil {
			t.Fatalf("redis: %v", err)
		}
	}
	return s
}

// newRedis is Redis without what makes a cluster of it.
func newRedis(t testing.TB, opts ...RedisOption) *RedisServer {
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
	if err != nil {
		t.Fatalf("redis: %v", err)
	}
	return s
}

// Addr returns the server's host:port, the same for as long as the test runs.
func (s *RedisServer) Addr() string { return loopback(s.port) }

// URL returns the server's address as a redis:// URL with database 0, for a server
// without TLS and users.
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
	p, err := start(command{
		path:   s.program,
		args:   s.args(),
		dir:    s.dir,
		orphan: syscall.SIGKILL,
		log:    filepath.Join(s.dir, "redis.log"),
	})
	if err != nil {
		return err
	}
	s.process = p
	return p.waitReady(ctx, func(ctx context.Context) error { return s.answers(ctx, p.pid) })
}

// args are the server's arguments.
func (s *RedisServer) args() []string {
	var args []string
	if s.sentinel {
		args = append(args, filepath.Join(s.dir, sentinelConf), "--sentinel")
	} else {
		args = append(args, "--save", "")
	}
	port, listen := "0", strconv.Itoa(s.port)
	if s.tls == nil {
		port, listen = listen, "0"
	}
	args = append(args, "--port", port, "--bind", "127.0.0.1", "--dir", s.dir, "--daemonize", "no")
	if s.tls != nil {
		args = append(args, "--tls-port", listen)
	}
	return append(args, s.config...)
}
