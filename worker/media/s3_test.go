package media

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/klinghook/klinghook/tasks"
)

// fakeS3 accepts uploads, whole or in parts; an object is visible once complete.
type fakeS3 struct {
	mu      sync.Mutex
	objects map[string]stored
	parts   map[int][]byte
}

type stored struct {
	ContentType string
	Size        int
	SHA256      string
}

func (s *fakeS3) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	q := r.URL.Query()
	switch {
	case r.Method == http.MethodPut && q.Has("partNumber"):
		n, err := strconv.Atoi(q.Get("partNumber"))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		s.parts[n] = body
		w.Header().Set("ETag", fmt.Sprintf(`"part-%d"`, n))
	case r.Method == http.MethodPut:
		s.objects[r.URL.Path] = stored{r.Header.Get("Content-Type"), len(body), sum(body)}
		w.Header().Set("ETag", `"whole"`)
	case r.Method == http.MethodPost && q.Has("uploads"):
		s.objects["pending"] = stored{ContentType: r.Header.Get("Content-Type")}
		_, _ = io.WriteString(w, "<InitiateMultipartUploadResult><UploadId>1</UploadId></InitiateMultipartUploadResult>")
	case r.Method == http.MethodPost:
		var whole bytes.Buffer
		for n := range len(s.parts) {
			whole.Write(s.parts[n+1])
		}
		s.objects[r.URL.Path] = stored{s.objects["pending"].ContentType, whole.Len(), sum(whole.Bytes())}
		delete(s.objects, "pending")
		_, _ = io.WriteString(w, "<CompleteMultipartUploadResult/>")
	default:
		w.WriteHeader(http.StatusNoContent)
	}
}

// openS3 opens a bucket in a fake S3.
func openS3(t *testing.T, h http.HandlerFunc) *Bucket {
	t.Helper()
	t.Setenv("AWS_ACCESS_KEY_ID", "test")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "test")
	endpoint, _ := serve(t, h)
	b, err := OpenBucket(t.Context(), "s3://bucket?region=us-east-1&use_path_style=true&request_checksum_calculation=when_required&prefix=klinghook/&endpoint="+endpoint)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	return b
}

func TestObjectInS3IsVisibleOnlyWhole(t *testing.T) {
	small, large := testVideo(1<<20, 1), testVideo(2*partSize+1000, 2)
	tests := []struct {
		name  string
		video []byte
		lost  int    // bytes at the end
		want  stored // zero: nothing visible
	}{
		{"one request", small, 0, stored{"video/mp4", len(small), sum(small)}},
		{"in parts", large, 0, stored{"video/mp4", len(large), sum(large)}},
		{"fails before the first part", large, 2 * partSize, stored{}},
		{"fails before the last part", large, 1, stored{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s3 := &fakeS3{objects: map[string]stored{}, parts: map[int][]byte{}}
			bucket := openS3(t, s3.ServeHTTP)
			answer := full(200, tt.video)
			url, hostport, _ := answering(t, answer[:len(answer)-tt.lost])
			f := NewFetcher(Config{Allow: []string{hostport}, MaxResumes: -1})
			file, err := downloadAndPublish(t.Context(), f, Request{Link: url + signed, Kind: tasks.MediaVideo, Bucket: bucket, Object: objectName})
			if (err == nil) != (tt.lost == 0) {
				t.Errorf("Download = %+v, %v", file, err)
			}
			s3.mu.Lock()
			defer s3.mu.Unlock()
			if diff := cmp.Diff(tt.want, s3.objects["/bucket/klinghook/"+object]); diff != "" {
				t.Errorf("the object (-want +got):\n%s", diff)
			}
		})
	}
}

func TestSignedURL(t *testing.T) {
	s3 := openS3(t, func(http.ResponseWriter, *http.Request) { t.Error("a link needs no request") })
	link, err := s3.SignedURL(t.Context(), "vid_1/video.mp4", time.Hour)
	if err != nil || !strings.Contains(link, "/bucket/klinghook/vid_1/video.mp4?") || !strings.Contains(link, "X-Amz-Expires=3600&") || !strings.Contains(link, "X-Amz-Signature=") {
		t.Errorf("S3: %s, %v", link, err)
	}
	folder, err := OpenBucket(t.Context(), "file://"+t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = folder.Close() }()
	if link, err := folder.SignedURL(t.Context(), "vid_1/video.mp4", time.Hour); err != nil || link != "" {
		t.Errorf("folder: %q, %v, want none", link, err)
	}
}
