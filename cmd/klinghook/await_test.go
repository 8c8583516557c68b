package main

import (
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/klinghook/klinghook/config"
	"github.com/klinghook/klinghook/internal/process"
	"github.com/klinghook/klinghook/internal/testenv"
)

func TestAwaitRetriesTemporaryErrors(t *testing.T) {
	errDown, errRefused := errors.New("down"), errors.New("refused")
	tests := []struct {
		name    string
		answers []error
		want    error
		lines   int
	}{
		{"available at once", []error{nil}, nil, 0},
		{"available later", []error{errDown, errDown, nil}, nil, 2},
		{"refused later", []error{errDown, errRefused}, errRefused, 1},
		{"stopped", nil, context.DeadlineExceeded, 30},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute-time.Second)
				defer cancel()
				core, logs := observer.New(zapcore.InfoLevel)
				err := await(ctx, zap.New(core), dependency{
					name: "it", temporary: func(err error) bool { return errors.Is(err, errDown) },
					check: func(context.Context) error {
						if len(tt.answers) == 0 {
							return errDown
						}
						defer func() { tt.answers = tt.answers[1:] }()
						return tt.answers[0]
					},
				})
				if !errors.Is(err, tt.want) || logs.FilterMessage("waiting").Len() != tt.lines {
					t.Errorf("await = %v after %d lines, want %v after %d", err, logs.Len(), tt.want, tt.lines)
				}
			})
		})
	}
}

func TestRedisErrorsAreClassified(t *testing.T) {
	locked := testenv.Redis(t, testenv.WithUser("worker", "right"))
	node := testenv.Redis(t, testenv.WithCluster())
	tests := []struct {
		name, url string
		temporary bool
	}{
		{"nothing listens", "redis://127.0.0.1:1", true},
		{"no login", locked.URL(), false},
		{"wrong password", strings.Replace(locked.URL(), "redis://", "redis://worker:wrong@", 1), false},
		{"wrong database", strings.TrimSuffix(testenv.Redis(t).URL(), "0") + "999", false},
		{"node of a cluster", node.URL(), false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			rdb, err := process.NewRedis(process.RedisConfig{URL: tt.url})
			testenv.NoError(t, err)
			defer func() { _ = rdb.Close() }()
			if err := process.PingRedis(t.Context(), rdb); err == nil || isTemporaryRedisError(err) != tt.temporary {
				t.Errorf("PingRedis = %v, want an error that is temporary: %t", err, tt.temporary)
			}
		})
	}
}

// TestWorkerWaitsForRedisAndDatabase starts a worker before its servers.
func TestWorkerWaitsForRedisAndDatabase(t *testing.T) {
	rdb, database := testenv.Redis(t), testenv.PostgresServer(t)
	env := append(os.Environ(), "KLINGHOOK_REDIS_URL="+rdb.URL(), "KLINGHOOK_DATABASE_URL="+database.URL(), "KLINGHOOK_ADMIN_ADDR=127.0.0.1:0",
		"KLINGHOOK_BUCKET_URL=file://"+t.TempDir(), "KLINGHOOK_LOG_FORMAT=json")
	dir := t.TempDir()
	program := func(command string) *testenv.Process {
		t.Helper()
		p, err := testenv.StartProgram(testenv.Program{Path: "klinghook", Args: []string{command}, Env: env, Dir: dir, Log: filepath.Join(dir, command+".log")})
		testenv.NoError(t, err)
		return p
	}
	migration := program("migrate")
	if <-migration.Exited(); migration.Err() != nil {
		t.Fatal(migration.Err())
	}
	rdb.Stop()
	database.Stop()
	worker := program("worker")
	log := func() string {
		content, err := os.ReadFile(filepath.Join(dir, "worker.log"))
		testenv.NoError(t, err)
		return string(content)
	}
	logged := func(text string) {
		t.Helper()
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for timeout := time.After(time.Minute); !strings.Contains(log(), text); {
			select {
			case <-tick.C:
			case <-worker.Exited():
				t.Fatalf("the worker ended: %s", log())
			case <-timeout:
				t.Fatalf("no %q in the log: %s", text, log())
			}
		}
	}
	logged(`"waiting","for":"Redis"`)
	_, address, _ := strings.Cut(log(), `"address":"`)
	address, _, _ = strings.Cut(address, `"`)
	if status, body := get(t, "http://"+address+"/readyz"); status != http.StatusServiceUnavailable || !strings.Contains(body, `"database"`) || !strings.Contains(body, `"redis"`) {
		t.Errorf("readyz = %d %s, want 503 with both", status, body)
	}
	rdb.Restart()
	logged(`"waiting","for":"database"`)
	database.Restart()
	logged(`"message":"working"`)
	if err := worker.End(syscall.SIGINT); err != nil || worker.Err() != nil {
		t.Errorf("the worker ended with %v, %v", err, worker.Err())
	}
}

// A probe that runs while the worker stops must neither be cut off nor fail the worker.
func TestWorkerStoppedWhileWaitingFinishesRunningProbe(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	core, logs := observer.New(zapcore.InfoLevel)
	running := make(chan struct{})
	probe := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		close(running)
		<-ctx.Done()
		_ = http.NewResponseController(w).Flush() // the answer begins after the worker was stopped
	})
	served := make(chan error, 1)
	waiting := make(chan struct{}, 1)
	go func() {
		cfg := &config.Config{AdminAddr: "127.0.0.1:0", Grace: time.Minute}
		served <- new(crew).serve(ctx, cfg, probe, zap.New(core), dependency{
			name: "it", temporary: func(error) bool { return true },
			check: func(context.Context) error {
				select {
				case waiting <- struct{}{}:
				default:
				}
				return errors.New("down")
			},
		})
	}()
	<-waiting
	address, _ := logs.FilterMessage("listening").All()[0].ContextMap()["address"].(string)
	go func() {
		<-running
		stop()
	}()
	if status, _ := get(t, "http://"+address); status != http.StatusOK {
		t.Errorf("the probe got %d", status)
	}
	if err := <-served; err != nil {
		t.Errorf("the worker ended with %v", err)
	}
}

func get(t *testing.T, url string) (status int, body string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
	testenv.NoError(t, err)
	res, err := http.DefaultClient.Do(req)
	testenv.NoError(t, err)
	defer func() { _ = res.Body.Close() }()
	content, err := io.ReadAll(res.Body)
	testenv.NoError(t, err)
	return res.StatusCode, string(content)
}
