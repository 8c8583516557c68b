package media

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/klinghook/klinghook/tasks"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// testVideo returns n bytes that start like an MP4; each seed gives another video.
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
	// Idle connections of the cloud SDKs' clients would outlive the test.
	srv.Config.SetKeepAlivesEnabled(false)
	srv.Start()
	t.Cleanup(srv.Close)
	return srv.URL, srv.Listener.Addr().String()
}

// raw returns a response with these header lines and exactly this body. Then the
// connection ends.
func raw(status int, body []byte, header ...string) string {
	header = append(header, "Connection: close")
	return fmt.Sprintf("HTTP/1.1 %d Odd\r\n%s\r\n\r\n%s", status, strings.Join(header, "\r\n"), body)
}

// full returns a response with a body of declared length.
func full(status int, body []byte, header ...string) string {
	return raw(status, body, append(header, fmt.Sprintf("Content-Length: %d", len(body)))...)
}

// answering starts a server that sends these answers, the last one repeatedly, each on its
// own connection. It checks each request.
func answering(t *testing.T, answers ...string) (url, hostport string, requests *atomic.Int32) {
	t.Helper()
	requests = new(atomic.Int32)
	url, hostport = serve(t, func(w http.ResponseWriter, r *http.Request) {
		n, h := int(requests.Add(1)), r.Header
		if r.URL.RawQuery != signed[1:] || h.Get("Accept-Encoding") != "identity" || h.Get("User-Agent") != "klinghook" || h.Get("Range") != "" && n == 1 {
			t.Errorf("request %d is %s with %v", n, r.URL, h)
		}
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			panic(err)
		}
		_, _ = conn.Write([]byte(answers[min(n, len(answers))-1]))
		_ = conn.Close()
	})
	return url, hostport, requests
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

// signed is a link's query; no error may show it.
const signed = "?Expires=1&Signature=SECRET"

// objectName is the Object of a Request, and object the name of a video from it.
const (
	objectName = "vid_1/video"
	object     = objectName + ".mp4"
)

// downloadAndPublish returns the published file.
func downloadAndPublish(ctx context.Context, f *Fetcher, r Request) (File, error) {
	file, err := f.Download(ctx, r)
	if err != nil {
		return File{}, err
	}
	defer file.Discard()
	err = file.Publish()
	return *file, err
}

// fetch downloads link+signed as object into a new bucket. It checks every outcome: an
// error shows no query and leaves no file, and a success leaves exactly that file.
func fetch(t *testing.T, f *Fetcher, link string, kind tasks.MediaKind) (content []byte, file File, err error) {
	t.Helper()
	bucket, dir := fileBucketIn(t)
	file, err = downloadAndPublish(t.Context(), f, Request{Link: link + signed, Kind: kind, Bucket: bucket, Object: objectName})
	if err != nil {
		if strings.Contains(err.Error(), "SECRET") {
			t.Errorf("error shows the link's query: %v", err)
		}
		if !strings.Contains(err.Error(), objectName) {
			t.Errorf("error does not name the object: %v", err)
		}
		if left := filesIn(t, dir); len(left) > 0 {
			t.Errorf("files left by a failed download: %q", left)
		}
		return nil, file, err
	}
	if diff := cmp.Diff([]string{file.Object}, filesIn(t, dir)); diff != "" || !strings.HasPrefix(file.Object, objectName+".") {
		t.Errorf("files in the bucket (-want +got):\n%s", diff)
	}
	content, readErr := os.ReadFile(filepath.Join(dir, file.Object))
	if readErr != nil {
		t.Fatal(readErr)
	}
	if want := (File{Object: file.Object, Size: int64(len(content)), SHA256: sum(content), ContentType: file.ContentType}); file != want {
		t.Errorf("Download returned %+v, want %+v", file, want)
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

// hangUp flushes and breaks the connection.
func hangUp(w http.ResponseWriter) {
	if err := http.NewResponseController(w).Flush(); err != nil && !errors.Is(err, net.ErrClosed) {
		panic(err)
	}
	panic(http.ErrAbortHandler)
}

// same compares videos without printing them.
func same(t *testing.T, got, want []byte) {
	t.Helper()
	if !bytes.Equal(got, want) {
		t.Errorf("got %d bytes with SHA-256 %s, want %d with %s", len(got), sum(got), len(want), sum(want))
	}
}
