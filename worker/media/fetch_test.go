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

func TestFileIsDownloaded(t *testing.T) {
	t.Parallel()
	video := testVideo(300<<10, 1)
	respond := func(contentType string, body []byte) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", contentType)
			_, _ = w.Write(body)
		}
	}
	tests := []struct {
		name     string
		kind     Kind
		handler  http.HandlerFunc
		want     []byte
		wantType string
	}{
		{"video", Video, respond("video/mp4", video), video, "video/mp4"},
		{"video of exactly the limit", Video, respond("", testVideo(1<<20, 2)), testVideo(1<<20, 2), "video/mp4"},
		{"video shorter than the sniffed length", Video, respond("", video[:100]), video[:100], "video/mp4"},
		{"video of exactly the sniffed length", Video, respond("", video[:sniffLen]), video[:sniffLen], "video/mp4"},
		{"unrecognised video", Video, respond("video/mp2t", []byte("\x47\x40\x00\x10")), []byte("\x47\x40\x00\x10"), "video/mp2t"},
		{"image", Image, respond("image/jpeg", []byte("\xff\xd8\xff\xe0\x00\x10JFIF")), []byte("\xff\xd8\xff\xe0\x00\x10JFIF"), "image/jpeg"},
		{"no length", Video, func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write(video[:1000])
			_ = http.NewResponseController(w).Flush()
			_, _ = w.Write(video[1000:])
		}, video, "video/mp4"},
		{"request headers", Video, func(w http.ResponseWriter, r *http.Request) {
			h := r.Header
			if r.URL.RawQuery != signed[1:] || h.Get("Accept-Encoding") != "identity" || h.Get("User-Agent") != "klinghook" || h.Get("Range") != "" {
				http.Error(w, "unexpected request", http.StatusBadRequest)
				return
			}
			_, _ = w.Write(video)
		}, video, "video/mp4"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			url, hostport := serve(t, tt.handler)
			got, file, err := fetch(t, NewFetcher(Config{Allow: []string{hostport}, MaxSize: 1 << 20}), url, tt.kind)
			if err != nil {
				t.Fatal(err)
			}
			same(t, got, tt.want)
			if file.ContentType != tt.wantType {
				t.Errorf("content type %q, want %q", file.ContentType, tt.wantType)
			}
		})
	}
}

func TestAnswerThatIsNotTheFileFails(t *testing.T) {
	t.Parallel()
	const limit = 1 << 20
	video := testVideo(limit+1, 1)
	body := func(contentType, content string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", contentType)
			_, _ = io.WriteString(w, content)
		}
	}
	status := func(code int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "7")
			w.WriteHeader(code)
			_, _ = w.Write(video[:1000])
		}
	}
	tests := []struct {
		name       string
		kind       Kind
		handler    http.HandlerFunc
		want       string // in the error
		permanent  bool
		retryAfter bool
	}{
		{"html", Video, body("video/mp4", "<html><body>expired</body></html>"), `it is "text/html; charset=utf-8", not video`, false, false},
		{"xml", Video, body("application/xml", `<?xml version="1.0"?><Error/>`), `"text/xml; charset=utf-8"`, false, false},
		{"long html", Video, body("video/mp4", "<html>"+strings.Repeat(" ", 100<<10)), "text/html", false, false},
		{"video for a thumbnail", Image, body("image/jpeg", string(video[:1000])), `it is "video/mp4", not image`, false, false},
		{"empty", Video, body("video/mp4", ""), "empty", false, false},
		{"empty, no length", Video, func(w http.ResponseWriter, _ *http.Request) {
			_ = http.NewResponseController(w).Flush()
		}, "empty", false, false},
		{"404 with an encoded page", Video, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			w.WriteHeader(http.StatusNotFound)
		}, "404", true, false},
		{"declared above the limit", Video, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", strconv.Itoa(limit+1))
			_ = http.NewResponseController(w).Flush()
		}, "larger than the limit of 1048576 bytes", true, false},
		{"above the limit", Video, func(w http.ResponseWriter, _ *http.Request) {
			_ = http.NewResponseController(w).Flush()
			_, _ = w.Write(video)
		}, "larger than the limit", true, false},
		{"never ends", Video, func(w http.ResponseWriter, _ *http.Request) {
			for {
				if _, err := w.Write(video[:64<<10]); err != nil {
					return
				}
			}
		}, "larger than the limit", true, false},
		{"429", Video, status(429), "429", false, true},
		{"redirect to nowhere", Video, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusFound) }, "302 Found", false, false},
		{"redirect to no URL", Video, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Location", "https://%zz/?"+r.URL.RawQuery)
			w.WriteHeader(http.StatusFound)
		}, "redirects: malformed link", false, false},
		{"redirect loop", Video, func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, r.URL.String(), http.StatusTemporaryRedirect)
		}, "more than 5 redirects", false, false},
		{"hangs up", Video, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, "EOF", false, false},
		{"speaks something else", Video, func(w http.ResponseWriter, _ *http.Request) {
			conn, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				panic(err)
			}
			_, _ = io.WriteString(conn, "220 mail.example ESMTP\r\n")
			_ = conn.Close()
		}, "malformed HTTP", false, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			url, hostport := serve(t, tt.handler)
			_, _, err := fetch(t, NewFetcher(Config{Allow: []string{hostport}, MaxSize: limit}), url, tt.kind)
			if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), hostport) {
				t.Fatalf("Download = %v, want %q and the host", err, tt.want)
			}
			if got := tasks.IsPermanent(err); got != tt.permanent {
				t.Errorf("permanent = %t, want %t: %v", got, tt.permanent, err)
			}
			if got := tasks.RetryAfterOf(err) > 0; got != tt.retryAfter {
				t.Errorf("has a wait = %t, want %t", got, tt.retryAfter)
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
	got, _, err := fetch(t, NewFetcher(Config{Allow: []string{hostport, targetHost}}), url, Video)
	if err != nil {
		t.Fatal(err)
	}
	same(t, got, video)
}

func TestInsideIsNotReachedByAnyLink(t *testing.T) {
	t.Parallel()
	var reached atomic.Int32
	inside := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		reached.Add(1)
		_, _ = w.Write(testVideo(1000, 1))
	}))
	t.Cleanup(inside.Close)
	plain, _ := serve(t, func(http.ResponseWriter, *http.Request) { reached.Add(1) })
	_, port, _ := strings.Cut(inside.Listener.Addr().String(), ":")
	inward := resolving(t, "127.0.0.1")
	links := map[string]string{
		"loopback":                      inside.URL,
		"plain http":                    plain,
		"localhost without https":       "http://localhost:" + port,
		"name that leads inward":        "https://cdn.example:" + port,
		"name in other digits":          "https://１２７.０.０.１:" + port,
		"name with ideographic stops":   "https://127。0。0。1:" + port,
		"name in circled digits":        "https://①②⑦.⓪.⓪.①:" + port,
		"decimal":                       "https://2130706433:" + port,
		"metadata service":              "http://169.254.169.254/latest/meta-data",
		"metadata service over https":   "https://169.254.169.254",
		"user information before a URL": "https://cdn.example@127.0.0.1:" + port,
	}
	for name, link := range links {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := NewFetcher(Config{Resolver: inward})
			if _, _, err := fetch(t, f, link, Video); !errors.Is(err, ErrForbiddenAddress) || !tasks.IsPermanent(err) {
				t.Errorf("directly: %v, want a permanent refusal", err)
			}
			url, hostport := serve(t, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Location", link+signed)
				w.WriteHeader(http.StatusFound)
			})
			f = NewFetcher(Config{Resolver: inward, Allow: []string{hostport}})
			if _, _, err := fetch(t, f, url, Video); !errors.Is(err, ErrForbiddenAddress) || !tasks.IsPermanent(err) {
				t.Errorf("by redirect: %v, want a permanent refusal", err)
			}
		})
	}
	t.Cleanup(func() {
		if n := reached.Load(); n > 0 {
			t.Errorf("the inside was reached %d times", n)
		}
	})
}

func TestCertificatesAreChecked(t *testing.T) {
	t.Parallel()
	video := testVideo(100<<10, 1)
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/downgrade" {
			http.Redirect(w, r, "http://cdn.example/a.mp4", http.StatusFound)
			return
		}
		_, _ = w.Write(video)
	}))
	srv.Config.ErrorLog = log.New(io.Discard, "", 0) // of handshakes that are to fail
	srv.StartTLS()
	t.Cleanup(srv.Close)
	trusting := NewFetcher(Config{Allow: []string{srv.Listener.Addr().String()}})
	roots := x509.NewCertPool()
	roots.AddCert(srv.Certificate())
	trusting.transport.TLSClientConfig = &tls.Config{RootCAs: roots}
	got, _, err := fetch(t, trusting, srv.URL, Video)
	if err != nil {
		t.Fatal(err)
	}
	same(t, got, video)
	if _, _, err := fetch(t, trusting, srv.URL+"/downgrade", Video); !errors.Is(err, ErrForbiddenAddress) {
		t.Errorf("downgrade: %v, want a refusal", err)
	}
	if _, _, err := fetch(t, NewFetcher(Config{Allow: []string{srv.Listener.Addr().String()}}), srv.URL, Video); err == nil || tasks.IsPermanent(err) {
		t.Errorf("unknown authority: %v, want an error that is retried", err)
	}
}

func TestUnknownNameIsRetried(t *testing.T) {
	t.Parallel()
	_, _, err := fetch(t, NewFetcher(Config{Resolver: resolving(t)}), "https://cdn.example/a.mp4", Video)
	if err == nil || tasks.IsPermanent(err) {
		t.Errorf("Download = %v, want an error that is retried", err)
	}
}

func TestFailedDownloadKeepsTheOldObject(t *testing.T) {
	t.Parallel()
	video := testVideo(100<<10, 1)
	var fail atomic.Bool
	url, hostport := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		if fail.Load() {
			w = &cut{w, 50 << 10}
		}
		_, _ = w.Write(video)
	})
	f := NewFetcher(Config{Allow: []string{hostport}, MaxResumes: -1})
	bucket, dir := fileBucketIn(t)
	if _, err := downloadAndPublish(t.Context(), f, Request{Link: url, Kind: Video, Bucket: bucket, Object: object}); err != nil {
		t.Fatal(err)
	}
	fail.Store(true)
	if _, err := downloadAndPublish(t.Context(), f, Request{Link: url, Kind: Video, Bucket: bucket, Object: object}); err == nil {
		t.Fatal("the second download did not fail")
	}
	got, err := os.ReadFile(filepath.Join(dir, object))
	if err != nil {
		t.Fatal(err)
	}
	same(t, got, video)
}

func TestTwoDownloadsAtOnceLeaveOneWhole(t *testing.T) {
	t.Parallel()
	videos := map[string][]byte{"/a": testVideo(300<<10, 1), "/b": testVideo(200<<10, 2)}
	url, hostport := serve(t, func(w http.ResponseWriter, r *http.Request) { _, _ = w.Write(videos[r.URL.Path]) })
	f := NewFetcher(Config{Allow: []string{hostport}})
	bucket, dir := fileBucketIn(t)
	var wg sync.WaitGroup
	for path := range videos {
		for range 4 {
			wg.Go(func() {
				if _, err := downloadAndPublish(t.Context(), f, Request{Link: url + path, Kind: Video, Bucket: bucket, Object: object}); err != nil {
					t.Error(err)
				}
			})
		}
	}
	wg.Wait()
	if names := filesIn(t, dir); len(names) != 1 {
		t.Errorf("files %q, want the object only", names)
	}
	got, err := os.ReadFile(filepath.Join(dir, object))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, videos["/a"]) && !bytes.Equal(got, videos["/b"]) {
		t.Errorf("the object is neither video whole: %d bytes", len(got))
	}
}

// Counts everything allocated, so no copy of the body can hide. Not parallel.
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
	file, err := downloadAndPublish(t.Context(), f, Request{Link: url, Kind: Video, Bucket: bucket, Object: object})
	runtime.ReadMemStats(&after)
	if err != nil || file.Size != size {
		t.Fatalf("Download = %+v, %v", file, err)
	}
	if got := after.TotalAlloc - before.TotalAlloc; got > most {
		t.Errorf("a download of %d bytes allocated %d, want at most %d", size, got, most)
	}
}
