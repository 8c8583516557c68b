package spool

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/klinghook/klinghook/tasks"
)

// say tells the test what this process has done, a line at a time: a pipe takes a
// short write whole or, when the process is killed before, not at all.
func say(verb, id string) error {
	_, err := io.WriteString(os.Stdout, verb+" "+id+"\n")
	return err
}

// help is the process that is killed: it puts events into the spool and drains it,
// both without a pause, and says what was acknowledged and what was enqueued.
func help(dir string) error {
	s, err := Open(Config{Dir: dir})
	if err != nil {
		return err
	}
	// Nobody is left to kill it when the test has ended.
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	q := NewQueue(QueueConfig{
		Inner: fakeInner(func(_ context.Context, t tasks.Task) (bool, error) { return false, say("enqueued", t.ID) }),
		Spool: s, DrainRate: 1e6, DrainBatch: 7, Log: zap.NewNop(), Metrics: prometheus.NewRegistry(),
	})
	go q.Run(ctx)
	failed := make(chan error, 8)
	for putter := range cap(failed) {
		go func() {
			for i := 0; ; i++ {
				// Some are large, and now and then the drain may catch up: the file grows,
				// and is replaced once it is empty.
				payload := make([]byte, rand.IntN(1000))
				if i%4 == 0 {
					payload = make([]byte, rand.IntN(1<<20))
				}
				if i%50 == 49 {
					untilEmpty(ctx, s)
				}
				id := fmt.Sprintf("%d-%d-%d", os.Getpid(), putter, i)
				if err := s.Put(ctx, tasks.Task{Kind: tasks.KindEventRecord, ID: id, Payload: payload}); err != nil {
					failed <- err
					return
				}
				if err := say("acknowledged", id); err != nil {
					failed <- err
					return
				}
			}
		}()
	}
	return <-failed
}

// untilEmpty returns when the spool was empty for a moment.
func untilEmpty(ctx context.Context, s *Spool) {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for s.Stats().Events > 0 && ctx.Err() == nil {
		<-tick.C
	}
}

// helper is a running help.
type helper struct {
	cmd   *exec.Cmd
	lines *bufio.Scanner
}

func startHelper(t *testing.T, dir string) *helper {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), helperDir+"="+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return &helper{cmd: cmd, lines: bufio.NewScanner(out)}
}

// kill ends the process with SIGKILL after it has said n things, calls note with
// all it said, and returns once it is gone.
func (h *helper) kill(t *testing.T, n int, note func(verb, id string)) {
	t.Helper()
	for i := 1; h.lines.Scan(); i++ {
		verb, id, ok := strings.Cut(h.lines.Text(), " ")
		if !ok {
			t.Fatalf("line %q", h.lines.Text())
		}
		note(verb, id)
		if i == n {
			if err := h.cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := h.lines.Err(); err != nil {
		t.Fatal(err)
	}
	if err := h.cmd.Wait(); err == nil || h.cmd.ProcessState.Exited() {
		t.Fatalf("the process ended by itself: %v", h.cmd.ProcessState)
	}
}

func TestKilledProcessLosesNothing(t *testing.T) {
	rounds := 10
	if testing.Short() {
		rounds = 3
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	dir := t.TempDir()
	acknowledged, enqueued := make(map[string]bool), make(map[string]int)
	for round := range rounds {
		startHelper(t, dir).kill(t, 1+random.IntN(1000), func(verb, id string) {
			if verb == "enqueued" {
				enqueued[id]++
			} else {
				acknowledged[id] = true
			}
		})
		if round%3 == 0 { // the next process has to open what this one left, or we do
			left := mustOpen(t, Config{Dir: dir})
			mustRead(t, left, 0, 100)
			mustClose(t, left)
		}
	}
	s := mustOpen(t, Config{Dir: dir})
	left := 0
	for last := uint64(0); ; {
		records := mustRead(t, s, last, 100)
		if len(records) == 0 {
			break
		}
		for _, r := range records {
			if r.Damaged != nil {
				t.Errorf("record %d: %v", r.Seq, r.Damaged)
			}
			last = r.Seq
			enqueued[r.Task.ID]++
			left++
		}
	}
	lost, again := 0, 0
	for id := range acknowledged {
		if enqueued[id] == 0 {
			lost++
		}
	}
	for _, n := range enqueued {
		again += n - 1
	}
	t.Logf("%d acknowledged, %d left in the spool, %d handed over again, %d lost", len(acknowledged), left, again, lost)
	if lost > 0 || len(acknowledged) == 0 || len(enqueued) == 0 {
		t.Errorf("%d of %d acknowledged events are lost", lost, len(acknowledged))
	}
	if stats := s.Stats(); stats.Events != left {
		t.Errorf("stats count %d events of %d", stats.Events, left)
	}
}

func TestLockAcrossProcesses(t *testing.T) {
	dir := t.TempDir()
	h := startHelper(t, dir)
	if !h.lines.Scan() {
		t.Fatal("the process says nothing")
	}
	if _, err := Open(Config{Dir: dir}); !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), dir) {
		t.Errorf("error %v, want %v and the directory", err, ErrLocked)
	}
	h.kill(t, 1, func(string, string) {})
	mustOpen(t, Config{Dir: dir})
	if _, err := os.Stat(filepath.Join(dir, fileName)); err != nil {
		t.Error(err)
	}
}
