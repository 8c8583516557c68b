package suite

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/klinghook/klinghook/bench/internal/media"
	"github.com/klinghook/klinghook/bench/internal/results"
	"github.com/klinghook/klinghook/bench/internal/rig"
)

// downloadLimit bounds one round of downloads.
const downloadLimit = 5 * time.Minute

// downloads compares a worker's downloads with curl's.
func (s *Suite) downloads(ctx context.Context, r *results.Results) (err error) {
	d := &results.Downloads{Stamp: s.stamp()}
	pg, err := s.Rig.StartPostgres(ctx)
	if err != nil {
		return err
	}
	defer stop(&err, pg)
	server, err := media.Start(ctx, 0)
	if err != nil {
		return err
	}
	defer func() { _ = server.Close() }() // nothing is in flight
	for _, files := range s.Plan.Downloads {
		row := results.DownloadRow{Files: files.Count, SizeMiB: files.Size / mib}
		total := float64(files.Size) * float64(files.Count) / mib
		for range s.Plan.SideRounds {
			if err := s.downloadRound(ctx, pg, server, files, total, &row); err != nil {
				return fmt.Errorf("%d files of %d MiB: %w", row.Files, row.SizeMiB, err)
			}
		}
		s.say("  %d × %d MiB: curl | sha256sum %.0f, with the file kept %.0f, worker %.0f MiB/s, %.1f MiB resident", row.Files, row.SizeMiB, row.Piped, row.Kept, row.Worker, row.PeakMiB)
		d.Rows = append(d.Rows, row)
	}
	r.Downloads = d
	return nil
}

// downloadRound fetches the files with curl, with and without keeping them, and with
// a worker.
func (s *Suite) downloadRound(ctx context.Context, pg *rig.Postgres, server *media.Server, files Files, total float64, row *results.DownloadRow) error {
	piped, err := s.curl(ctx, server, files, `curl -sS --fail --max-time 240 "$0" | sha256sum >/dev/null`)
	if err != nil {
		return err
	}
	kept, err := s.curl(ctx, server, files, `curl -sS --fail --max-time 240 "$0" | tee "$(basename "$0")" | sha256sum >/dev/null && sync "$(basename "$0")"`)
	if err != nil {
		return err
	}
	took, peak, err := s.workerDownloads(ctx, pg, server, files)
	if err != nil {
		return err
	}
	row.Piped, row.Kept = append(row.Piped, total/piped.Seconds()), append(row.Kept, total/kept.Seconds())
	row.Worker, row.PeakMiB = append(row.Worker, total/took.Seconds()), max(row.PeakMiB, peak)
	return nil
}

// curl runs a shell command for each file, all at once, and returns how long all of
// them took.
func (s *Suite) curl(ctx context.Context, server *media.Server, files Files, command string) (time.Duration, error) {
	dir, err := s.Rig.Dir("curl")
	if err != nil {
		return 0, err
	}
	defer func() { _ = os.RemoveAll(dir) }() // what is left is in the rig's folder
	urls := make([]string, files.Count)
	for i := range urls {
		urls[i] = server.URL(files.Size, i)
	}
	ctx, cancel := context.WithTimeout(ctx, downloadLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, "xargs", "-n", "1", "-P", strconv.Itoa(files.Count), "sh", "-c", command)
	cmd.Dir, cmd.Stdin = dir, strings.NewReader(strings.Join(urls, "\n"))
	// With what it has started.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	before, began := server.Requests(), time.Now()
	if out, err := cmd.CombinedOutput(); err != nil {
		return 0, fmt.Errorf("curl: %w:\n%s", err, out)
	}
	took := time.Since(began)
	if n := server.Requests() - before; n != int64(files.Count) {
		return 0, fmt.Errorf("curl has asked for %d files, want %d", n, files.Count)
	}
	return took, nil
}

// workerDownloads lets a worker fetch the files, all at once, and returns how long it
// took from its first request until all rows said "stored", and the most that it had
// resident, in MiB.
func (s *Suite) workerDownloads(ctx context.Context, pg *rig.Postgres, server *media.Server, files Files) (took time.Duration, peak float64, err error) {
	st, err := s.newStage(ctx, pg, rig.RedisConfig{})
	if err != nil {
		return 0, 0, err
	}
	defer stop(&err, st)
	if err := st.owe(ctx, server, files); err != nil {
		return 0, 0, err
	}
	if took, peak, err = st.fetch(ctx, server, files, 1, files.Count); err != nil {
		return 0, 0, err
	}
	want, err := server.SHA256(files.Size)
	if err != nil {
		return 0, 0, err
	}
	wrong, err := pg.Count(ctx, st.database, fmt.Sprintf(`SELECT count(*) FROM media WHERE sha256 <> '%s'`, want))
	if err == nil && wrong > 0 {
		err = fmt.Errorf("%d files are stored with a wrong hash", wrong)
	}
	return took, peak, err
}

// owe records one event for each file, so that the downloads wait in their queue,
// which is held.
func (st *stage) owe(ctx context.Context, server *media.Server, files Files) (err error) {
	if err := st.fill(ctx, files.Count, func(i int) string { return server.URL(files.Size, i) }); err != nil {
		return err
	}
	w, err := st.worker(ctx, map[string]string{"KLINGHOOK_QUEUES": "events=16"})
	if err != nil {
		return err
	}
	defer stop(&err, w)
	var waiting rig.Backlog
	all, err := until(ctx, 10*time.Millisecond, downloadLimit, func(ctx context.Context) (bool, error) {
		events, err := st.rd.Backlog(ctx, "events")
		if err != nil {
			return false, err
		}
		waiting, err = st.rd.Backlog(ctx, "media")
		return events.Waiting == 0 && waiting.Waiting == int64(files.Count), err
	})
	if err == nil && !all {
		err = fmt.Errorf("%d downloads are queued, want %d; the worker printed:\n%s", waiting.Waiting, files.Count, w.LogTail())
	}
	if err == nil {
		err = st.rd.Hold(ctx, "media")
	}
	return err
}

// fetch starts workers and lets them fetch what is owed, each as many files at once.
func (st *stage) fetch(ctx context.Context, server *media.Server, files Files, workers, atOnce int) (took time.Duration, peak float64, err error) {
	bucket, err := st.suite.Rig.Dir("bucket")
	if err != nil {
		return 0, 0, err
	}
	defer func() { _ = os.RemoveAll(bucket) }() // what is left is in the rig's folder
	var crew crew
	defer stop(&err, &crew)
	for range workers {
		w, startErr := st.worker(ctx, map[string]string{
			"KLINGHOOK_QUEUES":      fmt.Sprintf("media=%d", atOnce),
			"KLINGHOOK_MEDIA_ALLOW": server.Addr,
			"KLINGHOOK_BUCKET_URL":  "file://" + filepath.ToSlash(bucket),
		})
		if startErr != nil {
			return 0, 0, startErr
		}
		crew = append(crew, w)
	}
	began, err := st.letGo(ctx, server)
	if err != nil {
		return 0, 0, fmt.Errorf("%w; the worker printed:\n%s", err, crew[0].LogTail())
	}
	if err := st.awaitStored(ctx, files.Count); err != nil {
		return 0, 0, fmt.Errorf("%w; the worker printed:\n%s", err, crew[0].LogTail())
	}
	took = time.Since(began)
	for _, w := range crew {
		used, err := rig.UsageOf(w.PID())
		if err != nil {
			return 0, 0, err
		}
		peak = max(peak, float64(used.Peak)/mib)
	}
	return took, peak, nil
}

// crew is several workers.
type crew []*rig.Worker

// Stop stops them all.
func (c *crew) Stop() error {
	var errs []error
	for _, w := range *c {
		errs = append(errs, w.Stop())
	}
	return errors.Join(errs...)
}

// letGo releases the downloads and returns when the first file was asked for.
func (st *stage) letGo(ctx context.Context, server *media.Server) (time.Time, error) {
	before := server.Requests()
	if err := st.rd.Release(ctx, "media"); err != nil {
		return time.Time{}, err
	}
	begun, err := until(ctx, time.Millisecond, 30*time.Second, func(context.Context) (bool, error) { return server.Requests() > before, nil })
	if err == nil && !begun {
		err = errors.New("no file was asked for in 30 s")
	}
	return time.Now(), err
}

// awaitStored waits until so many files are stored.
func (st *stage) awaitStored(ctx context.Context, n int) error {
	conn, err := st.pg.Connect(ctx, st.database)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(ctx) }() // nothing is in flight
	var stored int
	all, err := until(ctx, 5*time.Millisecond, downloadLimit, func(ctx context.Context) (bool, error) {
		err := conn.QueryRow(ctx, `SELECT count(*) FROM media WHERE state = 'stored'`).Scan(&stored)
		return stored == n, err
	})
	if err == nil && !all {
		err = fmt.Errorf("%d of %d files are stored after %s", stored, n, downloadLimit)
	}
	return err
}
