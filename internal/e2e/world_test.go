package e2e

import (
	"context"
	"database/sql"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // the "pgx" driver
	"github.com/redis/go-redis/v9"
	_ "modernc.org/sqlite" // the "sqlite" driver

	"github.com/klinghook/klinghook/internal/process"
	"github.com/klinghook/klinghook/internal/testenv"
)

// world is everything around klinghook, and the settings to use it.
type world struct {
	t        *testing.T
	ctx      context.Context // ends when the test has taken too long
	dir      string          // everything that the programs write
	bucket   string
	media    *mediaServer
	receiver *receiver
	redis    *testenv.RedisServer // nil for dev
	rdb      redis.UniversalClient
	db       *sql.DB
	settings map[string]string
	services []*service
	script   *script
	sender   *sender
	lost     map[string]bool // the events that a scenario loses, as documented
}

// newWorld returns a world with SQLite and a folder, and without Redis. Its folder is
// kept if the test fails.
func newWorld(t *testing.T) *world {
	t.Helper()
	programs(t) // Building them takes none of the test's time.
	dir, err := os.MkdirTemp("", "klinghook-e2e-")
	testenv.NoError(t, err)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the programs' files are in %s", dir)
		} else if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	w := &world{t: t, dir: dir, media: newMediaServer(t), receiver: newReceiver(t), sender: newSender(t)}
	var cancel context.CancelFunc
	w.ctx, cancel = context.WithTimeout(context.WithoutCancel(t.Context()), patience)
	t.Cleanup(cancel)
	w.script = newScript(1, w.media.address())
	secret := func(key string) string { return "whsec_" + base64.StdEncoding.EncodeToString([]byte(key)) }
	w.settings = map[string]string{
		"KLINGAI_WEBHOOK_SECRET":          "the old webhook secret," + seedSecret,
		"KLINGAI_OFFICIAL_WEBHOOK_SECRET": secret(officialKey),
		"KLINGHOOK_ADDR":                  "127.0.0.1:0",
		"KLINGHOOK_ADMIN_ADDR":            "127.0.0.1:0",
		"KLINGHOOK_DATA":                  filepath.Join(dir, "data"),
		"KLINGHOOK_DATABASE_URL":          "sqlite:" + filepath.Join(dir, "k.db"),
		"KLINGHOOK_MEDIA_ALLOW":           w.media.address(),
		"KLINGHOOK_FORWARD_URLS":          w.receiver.server.URL,
		"KLINGHOOK_FORWARD_SECRET":        secret(forwardKey),
		"KLINGHOOK_LOG_FORMAT":            "json",
	}
	w.setBucket(filepath.Join(dir, "media"))
	testenv.NoError(t, os.Mkdir(w.bucket, 0o700))
	return w
}

// openRedis connects to the Redis of the settings.
func (w *world) openRedis() {
	w.t.Helper()
	var err error
	w.rdb, err = process.NewRedis(process.RedisConfig{
		URL: w.settings["KLINGHOOK_REDIS_URL"], Mode: w.settings["KLINGHOOK_REDIS_MODE"],
		CA: w.settings["KLINGHOOK_REDIS_TLS_CA"], Cert: w.settings["KLINGHOOK_REDIS_TLS_CERT"], Key: w.settings["KLINGHOOK_REDIS_TLS_KEY"],
	})
	testenv.NoError(w.t, err)
	w.t.Cleanup(func() { _ = w.rdb.Close() })
}

func (w *world) setBucket(dir string) {
	w.bucket = dir
	w.settings["KLINGHOOK_BUCKET_URL"] = "file://" + dir
}

// newFleet returns a world with Redis and a migrated database: SQLite's, or that at
// the URL.
func newFleet(t *testing.T, databaseURL string, opts ...testenv.RedisOption) *world {
	t.Helper()
	w := newWorld(t)
	if databaseURL != "" {
		w.settings["KLINGHOOK_DATABASE_URL"] = databaseURL
	}
	w.redis = testenv.Redis(t, opts...)
	w.settings["KLINGHOOK_REDIS_URL"] = w.redis.URL()
	w.openRedis()
	w.migrate()
	return w
}

func (w *world) migrate() { w.t.Helper(); w.mustRun("migrate") }

// run runs a command of klinghook and returns its stdout.
func (w *world) run(args ...string) (string, error) {
	w.t.Helper()
	cmd := exec.CommandContext(w.ctx, filepath.Join(programs(w.t), klinghook), args...)
	cmd.Env = environment(w.settings)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("klinghook %s: %w: %s", strings.Join(args, " "), err, stderr.String())
	}
	return string(out), err
}

func (w *world) mustRun(args ...string) string {
	w.t.Helper()
	out, err := w.run(args...)
	testenv.NoError(w.t, err)
	return out
}

// await polls until done; state describes the last attempt.
func (w *world) await(what string, poll func() (done bool, state string)) {
	w.t.Helper()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		done, state := poll()
		if done {
			return
		}
		select {
		case <-tick.C:
		case <-w.ctx.Done():
			w.t.Fatalf("the test's time is over; waited for %s: %s", what, state)
		}
	}
}

// pass lets load and faults continue for a while.
func (w *world) pass(length time.Duration) {
	w.t.Helper()
	select {
	case <-time.After(length):
	case <-w.ctx.Done():
		w.t.Fatal("the test's time is over")
	}
}

// startAll starts ingest and a worker, and returns ingest's base URL.
func (w *world) startAll() (base string, ingest, worker *service) {
	w.t.Helper()
	ingest, worker = w.start(ingestProgram), w.start(klinghook, "worker")
	base = ingest.url()
	return base, ingest, worker
}

// openStore opens the database for this suite's own SQL.
func (w *world) openStore() {
	w.t.Helper()
	driver, source := "pgx", w.settings["KLINGHOOK_DATABASE_URL"]
	if file, ok := strings.CutPrefix(source, "sqlite:"); ok {
		driver, source = "sqlite", "file:"+file+"?mode=ro&_pragma=busy_timeout(10000)"
	}
	var err error
	if w.db, err = sql.Open(driver, source); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = w.db.Close() })
}

// number returns the only value of a query.
func (w *world) number(query string, args ...any) (n int) {
	w.t.Helper()
	testenv.NoError(w.t, w.db.QueryRowContext(w.ctx, query, args...).Scan(&n))
	return n
}

// post delivers an event and returns the answer.
func (w *world) post(base string, e event) (status int, answer string) {
	w.t.Helper()
	status, answer, err := e.post(w.ctx, http.DefaultClient, base, "")
	testenv.NoError(w.t, err)
	return status, answer
}

// accept delivers an event that must be answered with 200.
func (w *world) accept(base string, e event) {
	w.t.Helper()
	if status, answer := w.post(base, e); status != http.StatusOK || answer != received {
		w.t.Fatalf("%s answered %d %s", e.body, status, answer)
	}
}

// awaitJob waits until a job's summary contains a text.
func (w *world) awaitJob(job, want string) {
	w.t.Helper()
	w.await(fmt.Sprintf("job %s: %s", job, want), func() (bool, string) {
		shown, err := w.showJob(job)
		return err == nil && strings.Contains(shown.summary(), want), fmt.Sprint(shown.summary(), err)
	})
}

// get sends a GET request and returns the answer.
func get(ctx context.Context, url string) (status int, answer string, err error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return 0, "", err
	}
	return send(http.DefaultClient, r)
}

// send sends a request and reads the whole answer.
func send(client *http.Client, r *http.Request) (status int, answer string, err error) {
	res, err := client.Do(r)
	if err != nil {
		return 0, "", err
	}
	content, err := io.ReadAll(res.Body)
	return res.StatusCode, string(content), errors.Join(err, res.Body.Close())
}
