package e2e

import (
	"database/sql"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klinghook/klinghook/internal/testenv"
)

// prunedJobs is how many jobs TestPruneKilledAtAnyTime deletes; each has one file.
const prunedJobs = 600

func TestPruneKilledAtAnyTime(t *testing.T) {
	t.Parallel()
	for name, url := range map[string]func() string{"sqlite": func() string { return "" }, "postgres": func() string { return testenv.Postgres(t) }} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			if url := url(); url != "" {
				w.settings["KLINGHOOK_DATABASE_URL"] = url
			}
			for _, what := range []string{"EVENTS", "MEDIA", "JOBS"} {
				w.settings["KLINGHOOK_RETAIN_"+what] = "1h"
			}
			w.migrate()
			w.openStore()
			w.fillOld()
			kills := 0
			for left := w.leftToPrune(); w.killPrune(left - 1 - rand.N(400)); left = w.leftToPrune() {
				w.checkPruned()
				kills++
			}
			if kills < 3 {
				t.Errorf("only %d kills met a deletion halfway", kills)
			}
			// What the killed processes had claimed is due after a few minutes.
			w.write(`UPDATE doomed_objects SET retry_at = (SELECT min(begun_at) FROM erasures)`)
			w.mustRun("prune")
			w.checkPruned()
			if left := w.leftToPrune(); left > 0 {
				t.Errorf("%d jobs and files are left", left)
			}
		})
	}
}

// fillOld adds old completed jobs, each with an event and a stored file.
func (w *world) fillOld() {
	w.t.Helper()
	for i := range prunedJobs {
		job := fmt.Sprintf("vid_%d", i)
		object := filepath.Join(w.bucket, job, "video.mp4")
		testenv.NoError(w.t, os.Mkdir(filepath.Dir(object), 0o700))
		testenv.NoError(w.t, os.WriteFile(object, []byte("old"), 0o600))
	}
	const old = `'2025-01-15T10:00:00.000000Z'`
	jobs := fmt.Sprintf(`WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < %d) SELECT 'kling', 'vid_' || i`, prunedJobs)
	for _, insert := range []string{
		`jobs (platform, id, seq, status, first_received_at, last_received_at, changed_at) ` + jobs + `, i, 'completed', CAST(` + old + ` AS %[1]s), CAST(` + old + ` AS %[1]s), CAST(` + old + ` AS %[1]s) FROM n`,
		`events (platform, job_id, id, source, type, received_at, processed_at, body) ` + jobs + `, 'klingai:' || i, 'klingai', 'video.completed', CAST(` + old + ` AS %[1]s), CAST(` + old + ` AS %[1]s), CAST('{}' AS %[2]s) FROM n`,
		`media (platform, job_id, name, url, links, state, object, objects, linked_at, created_at, updated_at, stored_at) ` + jobs +
			`, 'video', '', '[{"url":""}]', 'stored', 'vid_' || i || '/video.mp4', '["vid_' || i || '/video.mp4"]', CAST(` + old + ` AS %[1]s), CAST(` + old + ` AS %[1]s), CAST(` + old + ` AS %[1]s), CAST(` + old + ` AS %[1]s) FROM n`,
	} {
		instant, bytes := "TEXT", "BLOB"
		if strings.HasPrefix(w.settings["KLINGHOOK_DATABASE_URL"], "postgres") {
			instant, bytes = "TIMESTAMPTZ", "BYTEA"
		}
		w.write(`INSERT INTO ` + fmt.Sprintf(insert, instant, bytes))
	}
}

// write executes a statement on a connection of its own: that of openStore only reads.
func (w *world) write(statement string) {
	w.t.Helper()
	driver, source := "pgx", w.settings["KLINGHOOK_DATABASE_URL"]
	if file, ok := strings.CutPrefix(source, "sqlite:"); ok {
		driver, source = "sqlite", file
	}
	db, err := sql.Open(driver, source)
	testenv.NoError(w.t, err)
	defer func() { _ = db.Close() }()
	_, err = db.ExecContext(w.ctx, statement)
	testenv.NoError(w.t, err)
}

// leftToPrune counts what a deletion has not reached: jobs, stored files and objects.
func (w *world) leftToPrune() int {
	w.t.Helper()
	folders, err := os.ReadDir(w.bucket)
	testenv.NoError(w.t, err)
	return len(folders) + w.number(`SELECT (SELECT count(*) FROM jobs) + (SELECT count(*) FROM media WHERE state = 'stored')`)
}

// killPrune runs klinghook prune and kills it when no more than this is left. It returns
// false if prune ends by itself.
func (w *world) killPrune(left int) (killed bool) {
	w.t.Helper()
	cmd := exec.CommandContext(w.ctx, filepath.Join(programs(w.t), klinghook), "prune")
	cmd.Env = environment(w.settings)
	testenv.NoError(w.t, cmd.Start())
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for {
		select {
		case err := <-ended:
			testenv.NoError(w.t, err)
			return false
		default:
			if w.leftToPrune() <= left {
				_ = cmd.Process.Kill()
				return <-ended != nil
			}
		}
	}
}

// checkPruned checks that no job is half deleted, that no stored file lacks its object, and
// that each object is known: as a stored file, or as one to delete.
func (w *world) checkPruned() {
	w.t.Helper()
	if n := w.number(`SELECT (SELECT count(*) FROM jobs) + (SELECT count(*) FROM erasures)`); n != prunedJobs {
		w.t.Errorf("%d jobs and tombstones, want %d", n, prunedJobs)
	}
	if n := w.number(`SELECT count(*) FROM events e WHERE EXISTS (SELECT 1 FROM erasures x WHERE x.job_id = e.job_id)`); n > 0 {
		w.t.Errorf("%d events of deleted jobs", n)
	}
	known := map[string]bool{}
	testenv.NoError(w.t, w.rows(`SELECT object, TRUE FROM media WHERE state = 'stored' UNION ALL SELECT object, FALSE FROM doomed_objects`, func(row *sql.Rows) error {
		var object string
		var stored bool
		err := row.Scan(&object, &stored)
		known[object] = true
		if _, statErr := os.Stat(filepath.Join(w.bucket, object)); stored && statErr != nil {
			w.t.Errorf("a stored file has lost its object: %v", statErr)
		}
		return err
	}))
	folders, err := os.ReadDir(w.bucket)
	testenv.NoError(w.t, err)
	for _, folder := range folders {
		if object := folder.Name() + "/video.mp4"; !known[object] {
			w.t.Errorf("object %s has no row", object)
		}
	}
}
