package media

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// testVideo returns n bytes that begin as an MP4 does; another seed gives
// another video.
func testVideo(n int, seed byte) []byte {
	b := make([]byte, n)
	if _, err := rand.NewChaCha8([32]byte{seed}).Read(b); err != nil {
		panic(err)
	}
	copy(b, "\x00\x00\x00\x18ftypisom\x00\x00\x02\x00isomiso2")
	return b
}

func sum(b []byte) string {
	h := sha256.Sum256(b)
	return hex.EncodeToString(h[:])
}

// serve starts a server and returns its URL and host:port.
func serve(t *testing.T, h http.HandlerFunc) (url, hostport string) {
	t.Helper()
	srv := httptest.NewUnstartedServer(h)
	// The cloud SDKs keep clients of their own, whose idle connections would outlive
	// the test by as long as it takes them to notice that the server is gone.
	srv.Config.SetKeepAlivesEnabled(false)
	srv.Start()
	t.Cleanup(srv.Close)
	return srv.URL, srv.Listener.Addr().String()
}

// fileBucketIn opens a bucket in a new folder.
func fileBucketIn(t *testing.T) (b *Bucket, dir string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "media")
	b, err := OpenBucket(t.Context(), "file://"+dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	return b, dir
}

// filesIn returns the names of all files under a folder.
func filesIn(t *testing.T, dir string) []string {
	t.Helper()
	var names []string
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			name, relErr := filepath.Rel(dir, path)
			names, err = append(names, name), relErr
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// signed is a link's query, which no error may show.
const signed = "?Expires=1&Signature=SECRET"

const object = "vid_1/video.mp4"

// fetch downloads link+signed as object into a new bucket. What must hold of any
// outcome is checked here: an error shows no query and leaves no file, and a
// success leaves exactly the file that it tells of.
func fetch(t *testing.T, f *Fetcher, link string, kind Kind) (content []byte, file File, err error) {
	t.Helper()
	return fetchContext(t.Context(), t, f, link, kind)
}

func fetchContext(ctx context.Context, t *testing.T, f *Fetcher, link string, kind Kind) (content []byte, file File, err error) {
	t.Helper()
	bucket, dir := fileBucketIn(t)
	file, err = f.Download(ctx, Request{Link: link + signed, Kind: kind, Bucket: bucket, Object: object})
	if err != nil {
		if strings.Contains(err.Error(), "SECRET") {
			t.Errorf("error shows the link's query: %v", err)
		}
		if !strings.Contains(err.Error(), object) {
			t.Errorf("error does not name the object: %v", err)
		}
		if left := filesIn(t, dir); len(left) > 0 {
			t.Errorf("files left by a failed download: %q", left)
		}
		return nil, file, err
	}
	if diff := cmp.Diff([]string{object}, filesIn(t, dir)); diff != "" {
		t.Errorf("files in the bucket (-want +got):\n%s", diff)
	}
	content, readErr := os.ReadFile(filepath.Join(dir, object))
	if readErr != nil {
		t.Fatal(readErr)
	}
	want := File{Object: object, Size: int64(len(content)), SHA256: sum(content), ContentType: file.ContentType}
	if diff := cmp.Diff(want, file); diff != "" {
		t.Errorf("what Download tells (-file +told):\n%s", diff)
	}
	return content, file, nil
}

// cut is a ResponseWriter that breaks the connection after left bytes.
type cut struct {
	http.ResponseWriter
	left int
}

func (c *cut) Write(p []byte) (int, error) {
	n := min(len(p), c.left)
	if _, err := c.ResponseWriter.Write(p[:n]); err != nil {
		return 0, err
	}
	if c.left -= n; n < len(p) {
		hangUp(c.ResponseWriter)
	}
	return n, nil
}

// hangUp sends what was written and breaks the connection.
func hangUp(w http.ResponseWriter) {
	if err := http.NewResponseController(w).Flush(); err != nil && !errors.Is(err, net.ErrClosed) {
		panic(err)
	}
	panic(http.ErrAbortHandler)
}

// same fails unless the content is as wanted; it prints no videos.
func same(t *testing.T, got, want []byte) {
	t.Helper()
	if !bytes.Equal(got, want) {
		t.Errorf("got %d bytes with SHA-256 %s, want %d with %s", len(got), sum(got), len(want), sum(want))
	}
}
