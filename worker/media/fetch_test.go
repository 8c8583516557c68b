package media

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/klinghook/klinghook/tasks"
)

func TestContentDecidesTheType(t *testing.T) {
	t.Parallel()
	tests := []struct {
		kind     tasks.MediaKind
		declared string
		body     []byte
		want     string
	}{
		{tasks.MediaVideo, "text/html", testVideo(1<<20, 1), "video/mp4"}, // exactly at the limit
		{tasks.MediaVideo, "video/mp2t", []byte("\x47\x40\x00\x10"), "video/mp2t"},
		{tasks.MediaImage, "image/png", []byte("\xff\xd8\xff\xe0\x00\x10JFIF"), "image/jpeg"},
	}
	for _, tt := range tests {
		url, hostport, _ := answering(t, full(200, tt.body, "Content-Type: "+tt.declared))
		got, file, err := fetch(t, NewFetcher(Config{Allow: []string{hostport}, MaxSize: 1 << 20}), url, tt.kind)
		if err != nil || file.ContentType != tt.want {
			t.Errorf("%s declared as %s is %q, %v; want %q", tt.kind, tt.declared, file.ContentType, err, tt.want)
		}
		same(t, got, tt.body)
	}
}

func TestAnswerThatIsNotTheFileFails(t *testing.T) {
	t.Parallel()
	const limit = 1 << 20
	large := testVideo(limit+1, 1)
	video := large[:1000]
	html := []byte("<html>" + strings.Repeat(" ", 10<<10))
	const v1, mp4 = `ETag: "v1"`, "Content-Type: video/mp4"
	cut := full(200, video, v1)[:len(full(200, video, v1))-500]
	tests := []struct {
		name                  string
		kind                  tasks.MediaKind
		answers               []string // the last one repeatedly
		want                  string   // in the error
		permanent, retryAfter bool
	}{
		{"html", tasks.MediaVideo, []string{full(200, html[:100], mp4)}, `it is "text/html; charset=utf-8", not video`, false, false},
		{"long html", tasks.MediaVideo, []string{full(200, html, mp4)}, "text/html", false, false},
		{"video for a thumbnail", tasks.MediaImage, []string{full(200, video, "Content-Type: image/jpeg")}, `it is "video/mp4", not image`, false, false},
		{"empty", tasks.MediaVideo, []string{full(200, nil, mp4)}, "empty", false, false},
		{"empty, no length", tasks.MediaVideo, []string{raw(200, nil, mp4)}, "empty", false, false},
		{"404 with an encoded page", tasks.MediaVideo, []string{full(404, html, "Content-Encoding: gzip")}, "404", true, false},
		{"declared above the limit", tasks.MediaVideo, []string{raw(200, nil, "Content-Length: 1048577")}, "larger than the limit of 1048576 bytes", true, false},
		{"above the limit", tasks.MediaVideo, []string{raw(200, large, mp4)}, "larger than the limit", true, false},
		{"above the limit on resume", tasks.MediaVideo, []string{raw(200, video, v1), raw(206, video, v1, "Content-Range: bytes 1000-99999999/100000000")}, "larger than the limit", true, false},
		{"429", tasks.MediaVideo, []string{full(429, nil, "Retry-After: 7")}, "429", false, true},
		{"redirect to nowhere", tasks.MediaVideo, []string{full(302, nil)}, "302 Found", false, false},
		{"redirect to no URL", tasks.MediaVideo, []string{full(302, nil, "Location: https://%zz/"+signed)}, "redirects: malformed link", false, false},
		{"redirect to plain http", tasks.MediaVideo, []string{full(302, nil, "Location: http://cdn.example/"+signed)}, "only https is allowed", true, false},
		{"redirect loop", tasks.MediaVideo, []string{full(307, nil, "Location: /"+signed)}, "more than 5 redirects", false, false},
		{"hangs up", tasks.MediaVideo, []string{""}, "EOF", false, false},
		{"speaks something else", tasks.MediaVideo, []string{"220 mail.example ESMTP\r\n"}, "malformed HTTP", false, false},
		{"gone on resume", tasks.MediaVideo, []string{cut, full(404, nil)}, "404", true, false},
		{"refused on resume", tasks.MediaVideo, []string{cut, full(403, nil)}, "403", false, false},
		{"asks for a wait on resume", tasks.MediaVideo, []string{cut, full(503, nil, "Retry-After: 60")}, "503", false, true},
		{"redirects inward on resume", tasks.MediaVideo, []string{cut, full(302, nil, "Location: https://127.0.0.1/"+signed)}, "loopback", true, false},
		{"always cut, no validator", tasks.MediaVideo, []string{raw(200, video[:500], "Content-Length: 1000")}, "given up after 500 bytes", false, false},
		{"never there again", tasks.MediaVideo, []string{cut, ""}, "given up after 500 bytes", false, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			url, hostport, requests := answering(t, tt.answers...)
			_, _, err := fetch(t, NewFetcher(Config{Allow: []string{hostport}, MaxSize: limit, MaxResumes: 2}), url, tt.kind)
			if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), hostport) {
				t.Fatalf("Download = %v, want %q and the host", err, tt.want)
			}
			if permanent, wait := tasks.IsPermanent(err), tasks.RetryAfterOf(err) > 0; permanent != tt.permanent || wait != tt.retryAfter {
				t.Errorf("permanent = %t, has a wait = %t: %v", permanent, wait, err)
			}
			if n := requests.Load(); tt.want != "more than 5 redirects" && n > 3 {
				t.Errorf("%d requests, want at most 3", n)
			}
		})
	}
}

func TestRedirectsAreFollowed(t *testing.T) {
	t.Parallel()
	video := testVideo(1000, 1)
	var hops atomic.Int32
	target, targetHost := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if ref := r.Header.Get("Referer"); ref != "" {
			t.Errorf("the link was shown to the next host: %q", ref)
		}
		if want := "/a%20b%C3%A9%2F%25.mp4?q=1%202%&x=%2F"; r.RequestURI != want {
			t.Errorf("requested %q, want %q", r.RequestURI, want)
		}
		_, _ = w.Write(video)
	})
	url, hostport := serve(t, func(w http.ResponseWriter, r *http.Request) {
		n := hops.Add(1)
		if cookie, err := r.Cookie("pass"); n > 1 && (err != nil || cookie.Value != "1") {
			t.Errorf("request %d has no cookie of the first: %v", n, err)
		}
		w.Header().Set("Set-Cookie", "pass=1; Path=/")
		w.Header().Set("Location", fmt.Sprintf("/hop/%d", n)) // relative
		if n == maxRedirects {
			w.Header().Set("Location", target+"/a bé%2F%.mp4?q=1 2%&x=%2F#part")
		}
		w.WriteHeader(http.StatusMovedPermanently)
	})
	got, _, err := fetch(t, NewFetcher(Config{Allow: []string{hostport, targetHost}}), url, tasks.MediaVideo)
	if err != nil {
		t.Fatal(err)
	}
	same(t, got, video)
}

// The digits become ASCII only after the link was checked.
func TestAddressInOtherDigitsIsRefused(t *testing.T) {
	t.Parallel()
	for _, link := range []string{"https://１２７.０.０.１", "https://127。0。0。1", "https://①②⑦.⓪.⓪.①", "https://cdn.example"} {
		url, hostport, _ := answering(t, full(302, nil, "Location: "+link+signed))
		f := NewFetcher(Config{Resolver: resolving(t, "127.0.0.1"), Allow: []string{hostport}})
		for _, start := range []string{link, url} { // directly and by redirect
			if _, _, err := fetch(t, f, start, tasks.MediaVideo); !errors.Is(err, ErrForbiddenAddress) || !tasks.IsPermanent(err) {
				t.Errorf("%s to %s: %v, want a permanent refusal", start, link, err)
			}
		}
	}
}

func TestCertificatesAreChecked(t *testing.T) {
	t.Parallel()
	video := testVideo(100<<10, 1)
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(video) }))
	srv.Config.ErrorLog = log.New(io.Discard, "", 0) // handshakes fail on purpose
	srv.StartTLS()
	t.Cleanup(srv.Close)
	trusting := NewFetcher(Config{Allow: []string{srv.Listener.Addr().String()}})
	roots := x509.NewCertPool()
	roots.AddCert(srv.Certificate())
	trusting.transport.TLSClientConfig = &tls.Config{RootCAs: roots}
	got, _, err := fetch(t, trusting, srv.URL, tasks.MediaVideo)
	if err != nil {
		t.Fatal(err)
	}
	same(t, got, video)
	if _, _, err := fetch(t, NewFetcher(Config{Allow: []string{srv.Listener.Addr().String()}}), srv.URL, tasks.MediaVideo); err == nil || tasks.IsPermanent(err) {
		t.Errorf("unknown authority: %v, want an error that is retried", err)
	}
}

func TestFailedDownloadKeepsTheOldObject(t *testing.T) {
	t.Parallel()
	video := testVideo(100<<10, 1)
	answer := full(200, video)
	url, hostport, _ := answering(t, answer, answer[:50<<10])
	f := NewFetcher(Config{Allow: []string{hostport}, MaxResumes: -1})
	bucket, dir := fileBucketIn(t)
	for _, fails := range []bool{false, true} {
		_, err := downloadAndPublish(t.Context(), f, Request{Link: url + signed, Kind: tasks.MediaVideo, Bucket: bucket, Object: objectName})
		if (err != nil) != fails {
			t.Errorf("Download = %v, want an error: %t", err, fails)
		}
		got, err := os.ReadFile(filepath.Join(dir, object))
		if err != nil {
			t.Fatal(err)
		}
		same(t, got, video)
	}
}

func TestConcurrentDownloadsLeaveOneWholeFile(t *testing.T) {
	t.Parallel()
	videos := map[string][]byte{"/a": testVideo(300<<10, 1), "/b": testVideo(200<<10, 2)}
	url, hostport := serve(t, func(w http.ResponseWriter, r *http.Request) { _, _ = w.Write(videos[r.URL.Path]) })
	f := NewFetcher(Config{Allow: []string{hostport}})
	bucket, dir := fileBucketIn(t)
	var wg sync.WaitGroup
	for path := range videos {
		for range 4 {
			wg.Go(func() {
				if _, err := downloadAndPublish(t.Context(), f, Request{Link: url + path, Kind: tasks.MediaVideo, Bucket: bucket, Object: objectName}); err != nil {
					t.Error(err)
				}
			})
		}
	}
	wg.Wait()
	if names := filesIn(t, dir); len(names) != 1 {
		t.Errorf("files %q, want the object only", names)
	}
	if got, err := os.ReadFile(filepath.Join(dir, object)); err != nil || !bytes.Equal(got, videos["/a"]) && !bytes.Equal(got, videos["/b"]) {
		t.Errorf("the object is neither video whole: %d bytes, %v", len(got), err)
	}
}

// It counts all allocations, so that no copy of the body goes unnoticed. Not parallel.
func TestLargeDownloadNeedsLittleMemory(t *testing.T) {
	const size, most = 256 << 20, 4 << 20
	chunk := testVideo(1<<20, 1)
	url, hostport := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", strconv.Itoa(size))
		for range size / len(chunk) {
			_, _ = w.Write(chunk)
		}
	})
	f := NewFetcher(Config{Allow: []string{hostport}})
	bucket, _ := fileBucketIn(t)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	file, err := downloadAndPublish(t.Context(), f, Request{Link: url, Kind: tasks.MediaVideo, Bucket: bucket, Object: objectName})
	runtime.ReadMemStats(&after)
	if err != nil || file.Size != size {
		t.Fatalf("Download = %+v, %v", file, err)
	}
	if got := after.TotalAlloc - before.TotalAlloc; got > most {
		t.Errorf("a download of %d bytes allocated %d, want at most %d", size, got, most)
	}
}
