package compose

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

const project = "klinghook-test"

// patience is how long anything may take. A task of a worker that was killed runs
// again after two minutes at most.
const patience = 4 * time.Minute

// TestStackLosesNothing runs the stack through scaling, kills and restarts, and counts
// in the database. Each step continues from the one before.
func TestStackLosesNothing(t *testing.T) {
	s := newStack(t)
	start := time.Now()
	s.must("up", "-d", "--no-build")
	s.must("run", "--rm", "-T", "klinghook", "send", "--lifecycle") // as the README says
	s.settled(4, 4)
	t.Logf("%s from `up` to a stored job", time.Since(start).Round(time.Millisecond))
	s.up(1, 1)
	s.answers()
	s.simulated()
	for _, killed := range []string{"worker", "ingest", "redis"} {
		s.up(4, 2)
		before, _ := strconv.Atoi(s.query("SELECT count(*) FROM events"))
		sent, accepted := s.sendAndKill(killed, 500)
		t.Logf("%s killed: %d of %d deliveries were accepted", killed, accepted, sent)
		if sent-accepted > 4 {
			t.Errorf("%d deliveries were not accepted", sent-accepted)
		}
		if killed == "redis" {
			s.must("rm", "--stop", "--force", "ingest")
			s.up(2, 1) // another ingest drains the spool
		}
		s.settled(before+accepted, before+sent)
	}

	events, _ := strconv.Atoi(s.query("SELECT count(*) FROM events"))
	s.must("down")
	s.up(1, 1)
	s.settled(events, events)
}

// stack is docker-compose.yml on this machine's engine, as a project of its own.
type stack struct {
	t       *testing.T
	command []string
	env     []string
}

// ports are outside of the range that systems give to clients.
func ports() map[string]string {
	return map[string]string{"KLINGHOOK_PORT": "25000", "KLINGHOOK_ADMIN_PORT": "25001", "SIMULATE_PORT": "25010"}
}

func newStack(t *testing.T) *stack {
	t.Helper()
	if os.Getenv("COMPOSE_TEST") == "" {
		t.Skip("set COMPOSE_TEST=1 to test the stack on this machine's Docker (make compose-test)")
	}
	s := &stack{t: t, command: []string{"docker", "compose"}, env: append(os.Environ(), "ENV_FILE=.env.example", "COMPOSE_PROFILES=simulate")}
	if exec.CommandContext(t.Context(), "docker", "compose", "version").Run() != nil {
		s.command = []string{"docker-compose"}
	}
	base, err := filepath.Abs(root)
	if err != nil {
		t.Fatal(err)
	}
	s.command = append(s.command, "-p", project, "-f", filepath.Join(base, "docker-compose.yml"), "--env-file", filepath.Join(base, ".env.example"))
	for name, port := range ports() {
		s.env = append(s.env, name+"="+port)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if t.Failed() {
			out, err := s.run(ctx, append(s.command, "logs", "--no-color", "--tail", "80")...)
			t.Logf("%s, %v", out, err)
		}
		if out, err := s.run(ctx, append(s.command, "down", "--volumes", "--timeout", "10")...); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
	})
	return s
}

// run runs a command and returns what it prints.
func (s *stack) run(ctx context.Context, command ...string) (string, error) {
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	cmd.Env = s.env
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return string(out) + stderr.String(), fmt.Errorf("%s: %w", strings.Join(command, " "), err)
	}
	return strings.TrimSpace(string(out)), nil
}

// must runs a command of Compose that must succeed.
func (s *stack) must(args ...string) string {
	s.t.Helper()
	out, err := s.run(s.t.Context(), slices.Concat(s.command, args)...)
	if err != nil {
		s.t.Fatalf("%v\n%s", err, out)
	}
	return out
}

// docker runs a docker command that must succeed.
func (s *stack) docker(args ...string) string {
	s.t.Helper()
	out, err := s.run(s.t.Context(), append([]string{"docker"}, args...)...)
	if err != nil {
		s.t.Fatalf("%v\n%s", err, out)
	}
	return out
}

// up starts the stack with this many workers and ingests, and waits until all are healthy.
func (s *stack) up(workers, ingests int) {
	s.t.Helper()
	s.must("up", "-d", "--no-build", "--scale", "worker="+strconv.Itoa(workers), "--scale", "ingest="+strconv.Itoa(ingests))
	s.until("all are healthy", func() (bool, string) {
		states := s.containers("{{.Status}}", "")
		healthy := strings.Count(states, "(healthy)") // the proxy and the fake Kling have no check
		return healthy == 3+workers+ingests && strings.Count(states, "\n") == healthy+1, states
	})
}

// containers formats the running containers, of one service or all, as docker ps does.
func (s *stack) containers(format, service string) string {
	s.t.Helper()
	filter := "label=com.docker.compose.service"
	if service != "" {
		filter += "=" + service
	}
	return s.docker("ps", "--filter", "label=com.docker.compose.project="+project, "--filter", filter, "--format", format)
}

// container returns the name of a running container of a service.
func (s *stack) container(service string) string {
	s.t.Helper()
	name, _, _ := strings.Cut(s.containers("{{.Names}}", service), "\n")
	return name
}

// query asks the database for one value.
func (s *stack) query(sql string) string {
	s.t.Helper()
	return s.docker("exec", s.container("postgres"), "psql", "-U", "klinghook", "-d", "klinghook", "-Atc", sql)
}

// settled waits until nothing is owed, and checks the number of events.
func (s *stack) settled(least, most int) {
	s.t.Helper()
	const owed = `SELECT (SELECT count(*) FROM events WHERE processed_at IS NULL) + (SELECT count(*) FROM media WHERE state <> 'stored'), count(*) FROM events`
	s.until(fmt.Sprintf("nothing is owed of %d events", least), func() (bool, string) {
		got := s.query(owed)
		zero, events, _ := strings.Cut(got, "|")
		n, err := strconv.Atoi(events)
		return err == nil && zero == "0" && n >= least && n <= most, "owed, events: " + got
	})
	if lost := s.query("SELECT count(*) FROM dead_letters"); lost != "0" {
		s.t.Errorf("%s dead letters", lost)
	}
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

// sendAndKill sends all events of this many jobs, kills a container of a service when
// some have arrived, and returns how many deliveries were sent and answered with 200.
func (s *stack) sendAndKill(service string, jobs int) (sent, accepted int) {
	s.t.Helper()
	before := s.query("SELECT count(*) FROM events")
	done := make(chan string)
	go func() {
		send := []string{"run", "--rm", "-T", "klinghook", "send", "--lifecycle", "--protocol", "official", "--count", strconv.Itoa(jobs)}
		out, err := s.run(s.t.Context(), slices.Concat(s.command, send)...)
		done <- fmt.Sprint(out, err)
	}()
	s.until("deliveries arrive", func() (bool, string) {
		now := s.query("SELECT count(*) FROM events")
		return now != before, now
	})
	s.docker("kill", s.container(service))
	out := <-done
	if m := regexp.MustCompile(`(\d+) × 200 OK`).FindStringSubmatch(out); m != nil {
		accepted, _ = strconv.Atoi(m[1])
	}
	return 4 * jobs, accepted
}

// ask sends a request to a published port and returns status and body.
func (s *stack) ask(method, port, path, body string, header http.Header) (status int, answer string) {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), method, "http://127.0.0.1:"+ports()[port]+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header, req.Host = header, header.Get("Host")
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

// answers asks each published port.
func (s *stack) answers() {
	s.t.Helper()
	for _, tt := range []struct {
		method, port, path string
		want               int
	}{
		{http.MethodGet, "KLINGHOOK_PORT", "/healthz", http.StatusNotFound}, // the proxy forwards webhooks only
		{http.MethodPost, "KLINGHOOK_PORT", "/webhooks/klingai", http.StatusUnauthorized},
		{http.MethodPost, "KLINGHOOK_PORT", "/webhooks/klingai/official", http.StatusUnauthorized},
		{http.MethodGet, "KLINGHOOK_ADMIN_PORT", "/readyz", http.StatusOK},
		{http.MethodGet, "KLINGHOOK_ADMIN_PORT", "/queues/", http.StatusUnauthorized}, // the login form
	} {
		if got, answer := s.ask(tt.method, tt.port, tt.path, "{}", http.Header{}); got != tt.want {
			s.t.Errorf("%s %s answers %d %s, want %d", tt.method, tt.path, got, answer, tt.want)
		}
	}
}

// simulated creates a job at the fake Kling, and waits until its video is stored.
func (s *stack) simulated() {
	s.t.Helper()
	// Links have the requested host: here the one that workers use.
	header := http.Header{"Host": {"simulate:5010"}, "Authorization": {"Bearer simulated"}, "Content-Type": {"application/json"}}
	var created struct {
		Data struct {
			TaskID string `json:"task_id"`
		}
	}
	status, answer := s.ask(http.MethodPost, "SIMULATE_PORT", "/v1/videos/text2video",
		`{"prompt": "A lighthouse at dawn", "callback_url": "http://proxy:5000/webhooks/klingai/official"}`, header)
	if err := json.Unmarshal([]byte(answer), &created); err != nil || status != http.StatusOK {
		s.t.Fatalf("the fake Kling answers %d %s, %v", status, answer, err)
	}
	s.until("the video is stored", func() (bool, string) {
		got := s.query("SELECT count(*) FROM media WHERE state = 'stored' AND job_id = '" + created.Data.TaskID + "'")
		return got == "1", got
	})
}
