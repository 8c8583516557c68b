package e2e

import (
	"database/sql"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/klinghook/klinghook/internal/programs"
	"github.com/klinghook/klinghook/internal/testenv"
)

const (
	madeUpIDs      = 5000
	madeUpSenders  = 16
	floodedRate    = 10
	floodedAnswers = 40 * time.Second
)

// TestMadeUpCallbacks sends unsigned callbacks of jobs that there are not, in both
// forms, which cost Kling no more than the set rate; jobs that klinghook was told of
// and whose callbacks come in the midst of them are answered all the same.
func TestMadeUpCallbacks(t *testing.T) {
	t.Parallel()
	r := &lookupRun{world: newWorld(t), bucket: t.TempDir()}
	databaseURL := testenv.Postgres(t)
	r.settings = r.world.settings(databaseURL, r.bucket)
	r.settings["KLINGHOOK_REDIS_URL"] = testenv.Redis(t).URL()
	r.sim = newSimulator(t, r.settings, "--unsigned", "--duration", "2s", "--media-size", "64KiB")
	r.settings["KLINGHOOK_MEDIA_ALLOW"] = r.sim.addr
	l := newLine(t, r.sim.addr)
	lookupSettings(r.settings, l.URL, time.Hour, floodedRate)
	if _, err := run(t, r.settings, "migrate"); err != nil {
		t.Fatal(err)
	}
	r.open("pgx", databaseURL)
	worker := start(t, programs.Klinghook, r.settings, "worker")
	ingest := start(t, programs.Ingest, r.settings)
	base := "http://" + ingest.Address("webhooks")
	awaitOpen(t, base)

	floodMadeUp(t, base, madeUpIDs/2)
	began := time.Now()
	r.create(12, base, worker.Address("admin"), "t/"+callbackToken)
	floodMadeUp(t, base, madeUpIDs/2)
	r.awaitEnds()
	took := time.Since(began)
	t.Logf("12 jobs came to their ends in %s, beside %d callbacks of jobs that there are not; Kling was called %d times", took, madeUpIDs, len(l.all()))
	if took > floodedAnswers {
		t.Errorf("12 jobs came to their ends in %s, want %s at most", took, floodedAnswers)
	}
	l.checkRate(t, floodedRate)
	if n := r.number(`SELECT count(*) FROM jobs`); n != 12 {
		t.Errorf("there are %d jobs, want 12", n)
	}
	checkForeignTokens(t, base, r.db)
	checkSilence(t, worker, ingest)
}

// awaitOpen waits until unsigned callbacks are taken, which is when a worker asks.
func awaitOpen(t *testing.T, base string) {
	t.Helper()
	eventually(t, "unsigned callbacks to be taken", func() (bool, string) {
		status := postTo(t, base+"/webhooks/klingai/t/"+callbackToken, `{"id":"made-up","status":"submitted"}`)
		return status == http.StatusOK, fmt.Sprint("answered ", status)
	})
}

// floodMadeUp posts callbacks of as many jobs that there are not.
func floodMadeUp(t *testing.T, base string, n int) {
	t.Helper()
	began := time.Now().UnixNano()
	var wg sync.WaitGroup
	for sender := range madeUpSenders {
		wg.Go(func() {
			for i := sender; i < n; i += madeUpSenders {
				body := fmt.Sprintf(`{"id":"%d-%d","status":"succeeded"}`, began, i)
				if i%2 == 0 {
					body = fmt.Sprintf(`{"task_id":"%d-%d","task_status":"succeed"}`, began, i)
				}
				if status := postTo(t, base+"/webhooks/klingai/t/"+callbackToken, body); status != http.StatusOK {
					t.Errorf("a callback was answered %d", status)
					return
				}
			}
		})
	}
	wg.Wait()
}

// checkForeignTokens holds that to who has another token there is nothing, and that
// the sample that is kept of it has no token.
func checkForeignTokens(t *testing.T, base string, db *sql.DB) {
	t.Helper()
	for _, token := range []string{"guess", callbackToken[1:], callbackToken + "0", strings.ToUpper(callbackToken), ""} {
		if status := postTo(t, base+"/webhooks/klingai/t/"+token, `{"id":"made-up","status":"succeeded"}`); status != http.StatusNotFound {
			t.Errorf("token %q was answered %d, want 404", token, status)
		}
	}
	var kept int
	if err := db.QueryRowContext(t.Context(), `SELECT count(*) FROM events e WHERE e::text LIKE '%' || $1 || '%'`, callbackToken).Scan(&kept); err != nil || kept > 0 {
		t.Errorf("%d events have the token, %v", kept, err)
	}
}

// postTo posts a body and returns the answer's status; 0 where there is none.
func postTo(t *testing.T, target, body string) int {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, target, strings.NewReader(body))
	if err != nil {
		t.Error(err)
		return 0
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Error(err)
		return 0
	}
	defer func() { _ = res.Body.Close() }()
	_, _ = io.Copy(io.Discard, res.Body) // so that the connection can be used again
	return res.StatusCode
}
