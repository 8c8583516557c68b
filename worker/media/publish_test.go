package media

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/klinghook/klinghook/tasks"
)

func TestFileIsVisibleOnlyOncePublished(t *testing.T) {
	t.Parallel()
	for name, video := range map[string][]byte{"small": testVideo(100, 1), "large": testVideo(100<<10, 1)} {
		url, hostport, _ := answering(t, full(200, video))
		for _, publish := range []bool{true, false} {
			bucket, dir := fileBucketIn(t)
			file, err := NewFetcher(Config{Allow: []string{hostport}}).Download(t.Context(), Request{Link: url + signed, Kind: tasks.MediaVideo, Bucket: bucket, Object: objectName})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := os.Stat(filepath.Join(dir, object)); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("%s: before Publish: %v, want no object", name, err)
			}
			var want []string
			if publish {
				want, err = []string{object}, file.Publish()
			}
			file.Discard()
			if diff := cmp.Diff(want, filesIn(t, dir)); diff != "" || err != nil {
				t.Errorf("%s, published %t: %v, files (-want +got):\n%s", name, publish, err, diff)
			}
			if err := file.Publish(); err == nil {
				t.Errorf("%s: a second Publish succeeded", name)
			}
		}
	}
}

func TestOldLeftoversAreRemoved(t *testing.T) {
	t.Parallel()
	b, dir := fileBucketIn(t)
	leftovers := []string{"job/video.mp4.18f3a.tmp", "job/video-2.mp4.18f3e.tmp", "other/thumbnail.jpg.18f3f.tmp"}
	others := []string{
		"job/thumbnail.jpg",
		"job/video.mp4",
		"job/video.mp4.18f3c",
		"job/video.mp4.2.tmp/keep.mp4", // in a folder with such a name
		"job/video.mp4.mine.tmp",
		"job/video.mp4.tmp",
		"notes.1.tmp",
	}
	old := time.Now().Add(-2 * time.Hour)
	for _, name := range append(leftovers, others...) {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, nil, 0o600), os.Chtimes(path, old, old)); err != nil {
			t.Fatal(err)
		}
	}
	running, err := b.upload(t.Context(), "running/video.mp4", "video/mp4")
	if err != nil {
		t.Fatal(err)
	}
	if n, err := b.RemoveLeftovers(t.Context()); n != len(leftovers) || err != nil {
		t.Errorf("%d files removed (error %v), want %d", n, err, len(leftovers))
	}
	if err := running.publish(); err != nil {
		t.Errorf("publish of a running upload: %v", err)
	}
	if diff := cmp.Diff(append(others, "running/video.mp4"), filesIn(t, dir)); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
}
