package spool

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/klinghook/klinghook/tasks"
)

// say reports an event to the test. A short line goes into the pipe whole, or not at all if
// the process is killed first.
func say(verb, id string) error {
	_, err := io.WriteString(os.Stdout, verb+" "+id+"\n")
	return err
}

// sayingQueue is a Redis that reports each task it gets.
type sayingQueue struct{}

func (sayingQueue) Enqueue(_ context.Context, t tasks.Task) (bool, error) {
	return false, say("enqueued", t.ID)
}

// help runs in the process that is killed. It writes events to the spool and drains it
// without a pause.
func help(dir string) error {
	q, err := New(Config{
		Redis: sayingQueue{}, Healthy: func(context.Context) error { return nil }, Dir: dir, Log: zap.NewNop(), Metrics: prometheus.NewRegistry(),
	})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute) // in case nothing kills it
	defer cancel()
	go func() {
		for ctx.Err() == nil {
			q.drain(ctx)
		}
	}()
	failed := make(chan error, 8)
	for putter := range cap(failed) {
		go func() {
			for i := 0; ; i++ {
				id := fmt.Sprintf("%d-%d-%d", os.Getpid(), putter, i)
				err := q.put(ctx, tasks.Task{Kind: tasks.KindEventRecord, ID: id, Payload: make([]byte, rand.IntN(50_000))})
				if err == nil {
					err = say("acknowledged", id)
				}
				if err != nil {
					failed <- err
					return
				}
			}
		}()
	}
	return <-failed
}

// runUntilKilled runs a process on the spool, kills it after n lines, and calls note for
// each line.
func runUntilKilled(t *testing.T, dir string, n int, note func(verb, id string)) {
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), helperDir+"="+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Error(err)
		return
	}
	lines := bufio.NewScanner(out)
	for i := 1; lines.Scan(); i++ {
		verb, id, _ := strings.Cut(lines.Text(), " ")
		note(verb, id)
		if i == n {
			if err := cmd.Process.Kill(); err != nil {
				t.Error(err)
			}
		}
	}
	if err := cmd.Wait(); err == nil || cmd.ProcessState.Exited() {
		t.Errorf("the process ended by itself: %v", cmd.ProcessState)
	}
}

// Two processes share the directory, and each is killed again and again.
func TestKilledProcessesLoseNothing(t *testing.T) {
	t.Parallel()
	rounds := 8
	if testing.Short() {
		rounds = 3
	}
	dir := t.TempDir()
	var mu sync.Mutex
	acknowledged, enqueued := make(map[string]bool), make(map[string]bool)
	note := func(verb, id string) {
		mu.Lock()
		defer mu.Unlock()
		if verb == "enqueued" {
			enqueued[id] = true
		} else {
			acknowledged[id] = true
		}
	}
	var running sync.WaitGroup
	for range 2 {
		running.Go(func() {
			for range rounds {
				runUntilKilled(t, dir, 1+rand.IntN(1000), note)
			}
		})
	}
	running.Wait()
	f := start(t, dir)
	left := f.used().events
	f.waitFor(t, 0)
	for _, id := range f.redis.have() {
		enqueued[id] = true
	}
	lost := 0
	for id := range acknowledged {
		if !enqueued[id] {
			lost++
		}
	}
	t.Logf("%d acknowledged, %d left in the spool, %d lost", len(acknowledged), left, lost)
	if lost > 0 || len(acknowledged) == 0 {
		t.Errorf("%d of %d acknowledged events are lost", lost, len(acknowledged))
	}
	if bad, err := os.ReadDir(dir + "/bad"); err != nil || len(bad) > 0 {
		t.Errorf("%d files are damaged, %v", len(bad), err)
	}
}
