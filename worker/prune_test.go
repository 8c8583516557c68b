package worker_test

import (
	"errors"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/google/go-cmp/cmp"

	"github.com/klinghook/klinghook/internal/store"
	"github.com/klinghook/klinghook/internal/testenv"
	"github.com/klinghook/klinghook/tasks"
)

// objects returns the paths of all files and empty folders in the bucket.
func (f *fixture) objects(t *testing.T) (paths []string) {
	t.Helper()
	err := filepath.WalkDir(f.bucket, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case path == f.bucket:
			return err
		case errors.Is(err, fs.ErrNotExist): // deleted since its folder was read
			return nil
		case err != nil:
			return err
		}
		if below, _ := os.ReadDir(path); len(below) > 0 {
			return nil
		}
		rel, err := filepath.Rel(f.bucket, path)
		paths = append(paths, filepath.ToSlash(rel))
		return err
	})
	testenv.NoError(t, err)
	return paths
}

const png = "\x89PNG\x0d\x0a\x1a\x0a and so on"

// serveByName serves a file of the type that its path ends in.
func serveByName(w http.ResponseWriter, r *http.Request) {
	content := map[string]string{
		".mp4": video, ".png": png, ".jpg": "\xff\xd8\xff\xe0\x00\x10JFIF", ".mp3": "ID3\x04\x00\x00\x00\x00\x00\x00", ".wav": "RIFF\x24\x00\x00\x00WAVEfmt ",
	}[filepath.Ext(r.URL.Path)]
	_, _ = io.WriteString(w, content)
}

func TestPosterOfAnotherTypeReplacesTheOldOne(t *testing.T) {
	f := newFixture(t, miniredis.RunT(t).Addr(), time.Second)
	f.serve = serveByName
	for i, name := range []string{"a.jpg", "b.png", "c.jpg"} {
		body := `{"event":"video.completed","timestamp":"2025-01-15T10:3` + string(rune('0'+i)) + `:00Z","data":{"job_id":"vid_1","thumbnail_url":"` + f.cdn.URL + "/" + name + `"}}`
		f.deliver(t, "klingai", "", tasks.TypeCompleted, "vid_1", body)
		f.work(t)
		want := []string{"vid_1/thumbnail" + filepath.Ext(name)}
		f.eventually(t, name, func() bool { return cmp.Equal(want, f.objects(t)) })
		if file, err := f.store.Medium(t.Context(), tasks.KlingJob("vid_1"), "thumbnail"); err != nil || file.Object != want[0] {
			t.Errorf("%s is stored as %q, %v; want %q", name, file.Object, err, want[0])
		}
		f.renew(t)
	}
}

func TestOnlyChosenKindsAreStored(t *testing.T) {
	for name, tt := range map[string]struct {
		kinds []tasks.MediaKind
		want  []string
	}{
		"by default": {nil, []string{"vid_1/thumbnail.png", "vid_1/video.mp4"}},
		"thumbnails": {[]tasks.MediaKind{tasks.MediaThumbnail}, []string{"vid_1/thumbnail.png"}},
		"audio":      {[]tasks.MediaKind{tasks.MediaAudio}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, miniredis.RunT(t).Addr(), time.Second)
			f.serve, f.cfg.MediaKinds = serveByName, tt.kinds
			f.renew(t)
			f.deliverSeed(t, tasks.TypeCompleted, "vid_1", `,"video_url":"`+f.cdn.URL+`/v.mp4","thumbnail_url":"`+f.cdn.URL+`/t.png"`)
			f.work(t)
			if diff := cmp.Diff(tt.want, f.objects(t)); diff != "" {
				t.Errorf("objects (-want +got):\n%s", diff)
			}
			f.checkJob(t, "vid_1", tasks.StatusCompleted)
			f.checkLetters(t, 0)
		})
	}
}

func TestWorkerPrunesOldWork(t *testing.T) {
	f := newFixture(t, miniredis.RunT(t).Addr(), time.Second)
	f.completedAt(t, "30", "vid_1", "/v.mp4")
	f.work(t)
	now := time.Now()
	f.cfg.Now = func() time.Time { return now }
	f.cfg.Retention = store.Retention{Events: time.Hour, Media: time.Hour, Jobs: 48 * time.Hour}
	f.renew(t)
	testenv.NoError(t, f.worker.Prune(t.Context()))
	if diff := cmp.Diff([]string{"vid_1/video.mp4"}, f.objects(t)); diff != "" {
		t.Fatalf("young objects (-want +got):\n%s", diff)
	}
	now = now.Add(24 * time.Hour)
	testenv.NoError(t, f.worker.Prune(t.Context()))
	f.checkMedia(t, "vid_1", store.MediaDeleted, "")
	f.checkJob(t, "vid_1", tasks.StatusCompleted)
	if left := f.objects(t); len(left) > 0 {
		t.Errorf("objects %q are left", left)
	}
	now = now.Add(48 * time.Hour)
	testenv.NoError(t, f.worker.Prune(t.Context()))
	f.checkJob(t, "vid_1", "")
	metrics := f.metrics(t)
	for _, what := range []string{"events", "files", "jobs"} {
		if n := metrics["klinghook_pruned_total "+what]; n != 1 {
			t.Errorf("%g %s counted as pruned, want 1", n, what)
		}
	}
	if logs := f.logs.FilterMessage("old work deleted").All(); len(logs) != 2 {
		t.Errorf("logged %v, want two lines", logs)
	}
}

// A pruner that dies before it deletes an object leaves it to the next one.
func TestDoomedObjectOutlivesItsPruner(t *testing.T) {
	f := newFixture(t, miniredis.RunT(t).Addr(), time.Second)
	f.completedAt(t, "30", "vid_1", "/v.mp4")
	f.work(t)
	now := time.Now().Add(24 * time.Hour)
	_, err := f.store.Prune(t.Context(), store.Pruning{Retention: store.Retention{Media: time.Hour}, Now: now})
	testenv.NoError(t, err)
	claimed, err := f.store.DoomedObjects(t.Context(), now, now.Add(time.Minute), 10)
	if err != nil || len(claimed) != 1 {
		t.Fatalf("claimed %q, %v", claimed, err)
	}
	f.cfg.Now = func() time.Time { return now.Add(time.Hour) }
	f.renew(t)
	f.start(t)
	f.eventually(t, "the object to go", func() bool { return len(f.objects(t)) == 0 })
}

func TestUndeletableObjectStaysDoomed(t *testing.T) {
	f := newFixture(t, miniredis.RunT(t).Addr(), time.Second)
	f.completedAt(t, "30", "vid_1", "/v.mp4")
	f.work(t)
	f.cfg.Now = func() time.Time { return time.Now().Add(24 * time.Hour) }
	f.cfg.Retention = store.Retention{Media: time.Hour}
	f.renew(t)
	testenv.NoError(t, f.cfg.Bucket.Close())
	if err := f.worker.Prune(t.Context()); err == nil || !strings.Contains(err.Error(), "vid_1/video.mp4") {
		t.Errorf("Prune = %v, want an error that names the object", err)
	}
	claimed, err := f.store.DoomedObjects(t.Context(), time.Now().Add(48*time.Hour), time.Now(), 10)
	if diff := cmp.Diff([]string{"vid_1/video.mp4"}, claimed); diff != "" || err != nil {
		t.Errorf("%v; doomed objects (-want +got):\n%s", err, diff)
	}
	if _, err := os.Stat(filepath.Join(f.bucket, "vid_1", "video.mp4")); errors.Is(err, fs.ErrNotExist) {
		t.Error("the object is gone")
	}
}
