package media

import (
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestPublish(t *testing.T) {
	t.Parallel()
	refused := errors.New("refused")
	tests := []struct {
		name    string
		publish PublishFunc
		want    error
		there   bool // the object, in the end
		told    bool // the file, by Download
	}{
		{"none", nil, nil, true, true},
		{"puts", func(_ context.Context, _ File, put func() error) error { return put() }, nil, true, true},
		{"drops", func(context.Context, File, func() error) error { return nil }, nil, false, false},
		{"refuses", func(context.Context, File, func() error) error { return refused }, refused, false, false},
		{"fails after it put", func(_ context.Context, _ File, put func() error) error {
			return errors.Join(put(), refused)
		}, refused, true, false},
		{"puts twice", func(_ context.Context, _ File, put func() error) error {
			if err := put(); err != nil {
				return err
			}
			return put()
		}, errPutOver, true, false},
	}
	for _, tt := range tests {
		for name, video := range map[string][]byte{"small": testVideo(100, 1), "large": testVideo(100<<10, 1)} {
			t.Run(tt.name+", "+name, func(t *testing.T) {
				t.Parallel()
				url, hostport := serve(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(video) })
				bucket, dir := fileBucketIn(t)
				file, err := NewFetcher(Config{Allow: []string{hostport}}).
					Download(t.Context(), Request{Link: url, Kind: Video, Bucket: bucket, Object: object, Publish: tt.publish})
				if !errors.Is(err, tt.want) {
					t.Errorf("Download = %v, want %v", err, tt.want)
				}
				var want File
				if tt.told {
					want = File{Object: object, Size: int64(len(video)), SHA256: sum(video), ContentType: "video/mp4"}
				}
				if diff := cmp.Diff(want, file); diff != "" {
					t.Errorf("file (-want +got):\n%s", diff)
				}
				var files []string
				if tt.there {
					files = []string{object}
				}
				if diff := cmp.Diff(files, filesIn(t, dir)); diff != "" {
					t.Errorf("files in the bucket (-want +got):\n%s", diff)
				}
			})
		}
	}
}

func TestPublishSeesTheObjectAppear(t *testing.T) {
	t.Parallel()
	video := testVideo(100<<10, 1)
	url, hostport := serve(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(video) })
	bucket, dir := fileBucketIn(t)
	path := filepath.Join(dir, object)
	var told File
	var kept func() error
	file, err := NewFetcher(Config{Allow: []string{hostport}}).Download(t.Context(), Request{
		Link: url, Kind: Video, Bucket: bucket, Object: object,
		Publish: func(_ context.Context, file File, put func() error) error {
			told, kept = file, put
			if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("before put: %v, want no object", err)
			}
			if err := put(); err != nil {
				return err
			}
			got, err := os.ReadFile(path)
			same(t, got, video)
			return err
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(file, told); diff != "" {
		t.Errorf("what Publish was told (-file +told):\n%s", diff)
	}
	if err := kept(); !errors.Is(err, errPutOver) {
		t.Errorf("put after Download = %v, want %v", err, errPutOver)
	}
}

// A put that came to nothing is no success, even if nobody looked at its error.
func TestPublishHidesFailureOfPut(t *testing.T) {
	t.Parallel()
	url, hostport := serve(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(testVideo(1000, 1)) })
	bucket, dir := fileBucketIn(t)
	ctx, cancel := context.WithCancel(t.Context())
	_, err := NewFetcher(Config{Allow: []string{hostport}}).Download(ctx, Request{
		Link: url, Kind: Video, Bucket: bucket, Object: object,
		Publish: func(_ context.Context, _ File, put func() error) error {
			cancel()
			_ = put()
			return nil
		},
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("Download = %v, want the failure of put", err)
	}
	if left := filesIn(t, dir); len(left) > 0 {
		t.Errorf("files left: %q", left)
	}
}

func TestPutAfterDropIsRefused(t *testing.T) {
	t.Parallel()
	url, hostport := serve(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(testVideo(1000, 1)) })
	bucket, dir := fileBucketIn(t)
	var kept func() error
	_, err := NewFetcher(Config{Allow: []string{hostport}}).Download(t.Context(), Request{
		Link: url, Kind: Video, Bucket: bucket, Object: object,
		Publish: func(_ context.Context, _ File, put func() error) error {
			kept = put
			return nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := kept(); !errors.Is(err, errPutOver) {
		t.Errorf("put = %v, want %v", err, errPutOver)
	}
	if left := filesIn(t, dir); len(left) > 0 {
		t.Errorf("files left: %q", left)
	}
}

func TestLeftoversAreRemoved(t *testing.T) {
	t.Parallel()
	b, dir := fileBucketIn(t)
	leftovers := []string{"job/video.mp4.18f3a.tmp", "job/video-2.mp4.18f3e.tmp", "other/thumbnail.jpg.18f3f.tmp"}
	others := []string{
		"job/thumbnail.jpg",
		"job/video.mp4",
		"job/video.mp4.18f3c",
		"job/video.mp4.2.tmp/keep.mp4", // in a folder of such a name
		"job/video.mp4.mine.tmp",
		"job/video.mp4.tmp",
		"notes.1.tmp",
	}
	for _, name := range append(leftovers, others...) {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if n, err := b.RemoveLeftovers(t.Context()); n != len(leftovers) || err != nil {
		t.Errorf("%d files removed (error %v), want %d", n, err, len(leftovers))
	}
	if diff := cmp.Diff(others, filesIn(t, dir)); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
}

// A download that is at work keeps its temporary file; once it has died, the next
// download of the object removes it.
func TestLeftoverOfAKilledDownload(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		t.Skip("files have no such locks here")
	}
	b, dir := fileBucketIn(t)
	begin := func() *upload {
		up, err := b.upload(t.Context(), "job/video.mp4", "video/mp4")
		if err != nil {
			t.Fatal(err)
		}
		return up
	}
	dying := begin()
	other := begin()
	other.abort()
	if n, err := b.RemoveLeftovers(t.Context()); n > 0 || err != nil {
		t.Errorf("%d files removed (error %v), want none", n, err)
	}
	if got := filesIn(t, dir); len(got) != 1 {
		t.Errorf("files %q, want the temporary file of the download that is at work", got)
	}
	// The writer closes the file before it has the object's name.
	if err := dying.file.Close(); err != nil {
		t.Fatal(err)
	}
	begin().abort()
	if got := filesIn(t, dir); len(got) != 1 {
		t.Errorf("files %q, want the temporary file that is about to be published", got)
	}
	// With that, what the kernel does with a killed process is done.
	if err := dying.held.Close(); err != nil {
		t.Fatal(err)
	}
	begin().abort()
	if got := filesIn(t, dir); len(got) > 0 {
		t.Errorf("files left: %q", got)
	}
	dying.abort()
}
