package compose

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// patience is how long anything may take. A task of a worker that was killed runs
// again after two minutes at most.
const patience = 4 * time.Minute

// stack is docker-compose.yml on this machine's engine, as a project of its own on free
// ports.
type stack struct {
	t        *testing.T
	command  []string
	env      []string
	profiles []string
	ports    map[string]string
}

// images returns the images of the services without profiles, and of some others.
func images(t *testing.T, some ...string) []string {
	t.Helper()
	var list []string
	for name, s := range load(t, nil).Services {
		if slices.Contains(some, name) || !slices.Contains([]string{"grafana", "prometheus", "s3"}, name) {
			list = append(list, s.Image)
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// newStack returns a stack, also with some optional services. Without an engine or all
// images the test is skipped: nothing is pulled or built.
func newStack(t *testing.T, some ...string) *stack {
	t.Helper()
	if os.Getenv("COMPOSE_TEST") == "" {
		t.Skip("set COMPOSE_TEST=1 to try the stack on this machine's engine (make compose-test)")
	}
	s := &stack{t: t, command: []string{"docker", "compose"}, ports: map[string]string{}}
	if exec.CommandContext(t.Context(), "docker", "compose", "version").Run() != nil {
		s.command = []string{"docker-compose"}
	}
	var missing []string
	for _, image := range images(t, some...) {
		if exec.CommandContext(t.Context(), "docker", "image", "inspect", image).Run() != nil {
			missing = append(missing, image)
		}
	}
	if len(missing) > 0 {
		t.Skipf("these images are not here: %s", strings.Join(missing, ", "))
	}
	base, err := filepath.Abs(root)
	if err != nil {
		t.Fatal(err)
	}
	project := fmt.Sprintf("klinghook-test-%d", os.Getpid())
	s.command = append(s.command, "-p", project, "-f", filepath.Join(base, "docker-compose.yml"), "--env-file", filepath.Join(base, ".env.example"))
	for _, entry := range os.Environ() {
		if !strings.HasPrefix(entry, "KLING") && !strings.HasPrefix(entry, "COMPOSE_") {
			s.env = append(s.env, entry)
		}
	}
	s.env = append(s.env, "ENV_FILE=.env.example")
	for _, name := range []string{"KLINGHOOK_PORT", "KLINGHOOK_ADMIN_PORT", "SIMULATE_PORT", "PROMETHEUS_PORT"} {
		s.ports[name] = freePort(t)
		s.env = append(s.env, name+"="+s.ports[name])
	}
	t.Cleanup(s.remove)
	return s
}

// freePort returns a port that was free a moment ago.
func freePort(t *testing.T) string {
	t.Helper()
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// remove removes everything of the project, and prints its logs if the test failed.
func (s *stack) remove() {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if s.t.Failed() {
		for _, args := range [][]string{{"ps", "-a"}, {"logs", "--no-color", "--tail", "80"}} {
			out, err := s.compose(ctx, args...)
			s.t.Logf("%s: %v\n%s", args[0], err, out)
		}
	}
	// `down` needs all profiles.
	s.profiles = []string{"simulate", "observability", "s3"}
	if out, err := s.compose(ctx, "down", "--volumes", "--remove-orphans", "--timeout", "10"); err != nil {
		s.t.Errorf("down: %v\n%s", err, out)
	}
}

// compose runs a command of Compose and returns what it prints.
func (s *stack) compose(ctx context.Context, args ...string) (string, error) {
	all := slices.Clone(s.command[1:])
	for _, profile := range s.profiles {
		all = append(all, "--profile", profile)
	}
	cmd := exec.CommandContext(ctx, s.command[0], append(all, args...)...)
	cmd.Env = s.env
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return string(out) + stderr.String(), fmt.Errorf("compose %s: %w", strings.Join(args, " "), err)
	}
	return string(out), nil
}

// must runs a command of Compose that must succeed.
func (s *stack) must(args ...string) string {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	out, err := s.compose(ctx, args...)
	if err != nil {
		s.t.Fatalf("%v\n%s", err, out)
	}
	return out
}

// up starts the stack with this many workers and ingests, and waits until it is healthy.
func (s *stack) up(workers, ingests int) {
	s.t.Helper()
	s.must("up", "-d", "--no-build", "--scale", "worker="+strconv.Itoa(workers), "--scale", "ingest="+strconv.Itoa(ingests))
	for service, n := range map[string]int{"proxy": 1, "ingest": ingests, "worker": workers, "admin": 1, "redis": 1, "postgres": 1} {
		s.healthy(service, n)
	}
}

// healthy waits until a service has this many containers, all of them healthy.
func (s *stack) healthy(service string, want int) {
	s.t.Helper()
	s.until(service+" is healthy", func() (bool, string) {
		ids := s.containers(service)
		states := s.docker(append([]string{"inspect", "--format", "{{.State.Health.Status}}"}, ids...)...)
		return len(ids) == want && strings.Count(states+"\n", "healthy\n")-strings.Count(states+"\n", "unhealthy\n") == want, states
	})
}

// containers returns the running containers of a service.
func (s *stack) containers(service string) []string {
	s.t.Helper()
	return strings.Fields(s.must("ps", "-q", service))
}

// docker runs a docker command that must succeed.
func (s *stack) docker(args ...string) string {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	out, err := exec.CommandContext(ctx, "docker", args...).CombinedOutput()
	if err != nil {
		s.t.Fatalf("docker %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

// operator runs one of klinghook's commands inside the stack.
func (s *stack) operator(args ...string) string {
	s.t.Helper()
	return s.must(append([]string{"run", "--rm", "-T", "klinghook"}, args...)...)
}

// query asks the database for one value.
func (s *stack) query(sql string) string {
	s.t.Helper()
	return s.docker("exec", s.containers("postgres")[0], "psql", "-U", "klinghook", "-d", "klinghook", "-Atc", sql)
}

// settled waits until the database has this many jobs, all completed and nothing owed.
func (s *stack) settled(jobs int) {
	s.t.Helper()
	const sql = `SELECT count(*) FILTER (WHERE status = 'completed'), count(*),
		(SELECT count(*) FROM media WHERE state <> 'stored'), (SELECT count(*) FROM events WHERE processed_at IS NULL) FROM jobs`
	want := fmt.Sprintf("%d|%d|0|0", jobs, jobs)
	s.until(fmt.Sprintf("%d jobs are completed and their media stored", jobs), func() (bool, string) {
		got := s.query(sql)
		return got == want, "completed, jobs, media owed, events owed: " + got
	})
}

// until polls until done.
func (s *stack) until(what string, ask func() (done bool, state string)) {
	s.t.Helper()
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); ; <-tick.C {
		done, state := ask()
		if done {
			return
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("waited %s until %s: %s", patience, what, state)
		}
	}
}

// ask sends a request to a published port and returns status and body.
func (s *stack) ask(method, port, path, body string, header http.Header) (status int, answer string) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), time.Minute)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, "http://127.0.0.1:"+s.ports[port]+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	for name, values := range header {
		req.Header[name] = values
	}
	req.Host = header.Get("Host")
	res, err := http.DefaultTransport.RoundTrip(req) // without following redirects
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	content, err := io.ReadAll(res.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return res.StatusCode, string(content)
}

// decode reads JSON.
func decode(t *testing.T, text string, into any) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), into); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
}
