package media

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/klinghook/klinghook/tasks"
)

// exchange answers the n-th request for a file, counted from 1.
type exchange func(w http.ResponseWriter, r *http.Request, n int)

// serveVideo answers as a proper server does, ranges included.
func serveVideo(w http.ResponseWriter, r *http.Request, video []byte) {
	http.ServeContent(w, r, "", time.Unix(0, 0), bytes.NewReader(video))
}

// part answers with bytes of version v1 and the given Content-Range.
func part(w http.ResponseWriter, contentRange string, body []byte) {
	w.Header().Set("ETag", `"v1"`)
	w.Header().Set("Content-Range", contentRange)
	w.WriteHeader(http.StatusPartialContent)
	_, _ = w.Write(body)
}

// unmarked answers as HTTP/1.0 did: the body ends where the connection does.
func unmarked(w http.ResponseWriter, header string, body []byte) {
	conn, buf, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(err)
	}
	_, _ = fmt.Fprintf(buf, "HTTP/1.0 200 OK\r\n%s\r\n\r\n%s", header, body)
	_ = buf.Flush()
	_ = conn.Close()
}

// cutFirst answers the first request with half a video and the others with rest.
func cutFirst(video []byte, rest http.HandlerFunc) exchange {
	return func(w http.ResponseWriter, r *http.Request, n int) {
		if n > 1 {
			rest(w, r)
			return
		}
		w.Header().Set("ETag", `"v1"`)
		w.Header().Set("Content-Length", strconv.Itoa(len(video)))
		_, _ = (&cut{w, len(video) / 2}).Write(video)
	}
}

func TestBrokenDownloadIsResumed(t *testing.T) {
	t.Parallel()
	const size = 200 << 10
	const half = size / 2
	video, other := testVideo(size, 1), testVideo(size+1000, 2)
	tests := []struct {
		name     string
		answer   exchange
		want     []byte
		requests int
	}{
		{"drops again and again", func(w http.ResponseWriter, r *http.Request, _ int) {
			w.Header().Set("ETag", `"v1"`)
			serveVideo(&cut{w, 30 << 10}, r, video)
		}, video, 7},
		{"drops within the first bytes", func(w http.ResponseWriter, r *http.Request, n int) {
			w.Header().Set("ETag", `"v1"`)
			if n < 4 {
				w = &cut{w, 100}
			}
			serveVideo(w, r, video)
		}, video, 4},
		{"Last-Modified only", func(w http.ResponseWriter, r *http.Request, n int) {
			if n == 1 {
				w = &cut{w, half}
			} else if r.Header.Get("If-Range") == "" {
				panic(http.ErrAbortHandler)
			}
			http.ServeContent(w, r, "", time.Unix(1e9, 0), bytes.NewReader(video))
		}, video, 2},
		{"no validator, from the start", func(w http.ResponseWriter, r *http.Request, n int) {
			if n == 1 {
				w = &cut{w, half}
			} else if r.Header.Get("Range") != "" {
				panic(http.ErrAbortHandler)
			}
			serveVideo(w, r, video)
		}, video, 2},
		{"weak ETag only, from the start", func(w http.ResponseWriter, r *http.Request, n int) {
			w.Header().Set("ETag", `W/"v1"`)
			if n == 1 {
				w = &cut{w, half}
			} else if r.Header.Get("Range") != "" {
				panic(http.ErrAbortHandler)
			}
			serveVideo(w, r, video)
		}, video, 2},
		{"requests the rest of the same version", cutFirst(video, func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Range") != fmt.Sprintf("bytes=%d-", half) || r.Header.Get("If-Range") != `"v1"` || r.URL.RawQuery != signed[1:] {
				panic(http.ErrAbortHandler)
			}
			serveVideo(w, r, video)
		}), video, 2},
		{"knows no ranges", cutFirst(video, func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write(video)
		}), video, 2},
		{"changes to a shorter one", cutFirst(video, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("ETag", `"v1"`)
			serveVideo(w, r, video[:half-1])
		}), video[:half-1], 3},
		{"gives the rest in pieces", cutFirst(video, func(w http.ResponseWriter, r *http.Request) {
			var first int
			if _, err := fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-", &first); err != nil {
				panic(err)
			}
			last := min(first+(30<<10), size) - 1
			part(w, fmt.Sprintf("bytes %d-%d/*", first, last), video[first:last+1])
		}), video, 5},
		{"a part shorter than its range, total unknown", func(w http.ResponseWriter, r *http.Request, n int) {
			w.Header().Set("ETag", `"v1"`)
			switch n {
			case 1:
				_, _ = w.Write(video[:half])
				hangUp(w)
			case 2:
				w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/*", half, size-1))
				w.WriteHeader(http.StatusPartialContent)
				_ = http.NewResponseController(w).Flush() // chunked: no length besides
				_, _ = w.Write(video[half : half+1000])
			default:
				serveVideo(w, r, video)
			}
		}, video, 3},
		{"whole, but its end was lost", func(w http.ResponseWriter, r *http.Request, n int) {
			w.Header().Set("ETag", `"v1"`)
			if n == 1 {
				_, _ = w.Write(video)
				hangUp(w)
			}
			serveVideo(w, r, video) // a 416
		}, video, 2},
		{"end not marked, confirmed by a 416", func(w http.ResponseWriter, r *http.Request, n int) {
			w.Header().Set("ETag", `"v1"`)
			if n == 1 {
				unmarked(w, `ETag: "v1"`, video)
				return
			}
			serveVideo(w, r, video)
		}, video, 2},
		{"end not marked, and cut", func(w http.ResponseWriter, r *http.Request, n int) {
			w.Header().Set("ETag", `"v1"`)
			if n == 1 {
				unmarked(w, `ETag: "v1"`, video[:half])
				return
			}
			serveVideo(w, r, video)
		}, video, 2},
		{"end never marked, no ranges, once cut", func(w http.ResponseWriter, _ *http.Request, n int) {
			if n == 1 {
				unmarked(w, "Server: old", video[:half])
				return
			}
			unmarked(w, "Server: old", video)
		}, video, 3},
		{"416 of another length", cutFirst(video, func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Range") == "" {
				_, _ = w.Write(other)
				return
			}
			w.Header().Set("Content-Range", "bytes */10")
			w.WriteHeader(http.StatusRequestedRangeNotSatisfiable)
		}), other, 3},
		{"away for a moment", func() exchange {
			return func(w http.ResponseWriter, r *http.Request, n int) {
				switch n {
				case 2:
					w.WriteHeader(http.StatusBadGateway)
				case 3:
					panic(http.ErrAbortHandler)
				default:
					cutFirst(video, func(w http.ResponseWriter, r *http.Request) {
						w.Header().Set("ETag", `"v1"`)
						serveVideo(w, r, video)
					})(w, r, n)
				}
			}
		}(), video, 4},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var n atomic.Int32
			url, hostport := serve(t, func(w http.ResponseWriter, r *http.Request) { tt.answer(w, r, int(n.Add(1))) })
			got, _, err := fetch(t, NewFetcher(Config{Allow: []string{hostport}}), url, Video)
			if err != nil {
				t.Fatal(err)
			}
			same(t, got, tt.want)
			if got := int(n.Load()); got != tt.requests {
				t.Errorf("%d requests, want %d", got, tt.requests)
			}
		})
	}
}

func TestWrongAnswerToAResumeFails(t *testing.T) {
	t.Parallel()
	const size = 1000
	const half = size / 2
	video := testVideo(size, 1)
	tests := []struct {
		name      string
		answer    exchange
		want      string
		permanent bool
		wait      bool
	}{
		{"above the limit", func(w http.ResponseWriter, _ *http.Request, n int) {
			w.Header().Set("ETag", `"v1"`)
			if n == 1 {
				_, _ = w.Write(video)
				hangUp(w)
			}
			w.Header().Set("Content-Length", "99999000")
			part(w, "bytes 1000-99999999/100000000", video)
		}, "larger than the limit", true, false},
		{"gone on resume", cutFirst(video, http.NotFound), "404", true, false},
		{"refused on resume", cutFirst(video, func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusForbidden)
		}), "403", false, false},
		{"asks for a wait", cutFirst(video, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "60")
			w.WriteHeader(http.StatusServiceUnavailable)
		}), "503", false, true},
		{"redirects inward on resume", cutFirst(video, func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://127.0.0.1/", http.StatusFound)
		}), "loopback", true, false},
		{"always cut, no validator", func(w http.ResponseWriter, _ *http.Request, _ int) {
			w.Header().Set("Content-Length", strconv.Itoa(size))
			_, _ = (&cut{w, half}).Write(video)
		}, "given up after 500 bytes", false, false},
		{"never there again", cutFirst(video, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }), "given up after 500 bytes", false, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var n atomic.Int32
			url, hostport := serve(t, func(w http.ResponseWriter, r *http.Request) { tt.answer(w, r, int(n.Add(1))) })
			f := NewFetcher(Config{Allow: []string{hostport}, MaxResumes: 2, MaxSize: 1 << 20})
			_, _, err := fetch(t, f, url, Video)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("Download = %v, want %q", err, tt.want)
			}
			if tasks.IsPermanent(err) != tt.permanent || (tasks.RetryAfterOf(err) > 0) != tt.wait {
				t.Errorf("permanent %t, wait %s: %v", tasks.IsPermanent(err), tasks.RetryAfterOf(err), err)
			}
			if got := n.Load(); got > 3 {
				t.Errorf("%d requests, want at most 3", got)
			}
		})
	}
}

func TestBucketFailureIsNotResumed(t *testing.T) {
	t.Parallel()
	var n atomic.Int32
	url, hostport := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		n.Add(1)
		_, _ = w.Write(testVideo(100<<10, 1))
	})
	bucket, dir := fileBucketIn(t)
	// A file is where the job's folder would be created.
	if err := os.WriteFile(filepath.Join(dir, "vid_1"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := downloadAndPublish(t.Context(), NewFetcher(Config{Allow: []string{hostport}}), Request{Link: url, Kind: Video, Bucket: bucket, Object: object})
	if err == nil || tasks.IsPermanent(err) || !strings.Contains(err.Error(), "write to bucket") {
		t.Errorf("Download = %v, want the bucket's failure, to be retried", err)
	}
	var dropped *droppedError
	if errors.As(err, &dropped) || n.Load() != 1 {
		t.Errorf("asked the server %d times, want once: it is not at fault", n.Load())
	}
}

func TestContentRange(t *testing.T) {
	t.Parallel()
	for value, want := range map[string][]int64{
		"bytes 0-499/500": {0, 499, 500}, "Bytes 200-499/*": {200, 499, -1}, "bytes 5-5/6": {5, 5, 6},
		"": nil, "bytes */500": nil, "items 0-4/5": nil, "bytes 5-4/6": nil, "bytes 0-500/500": nil, "bytes 0-4/5, bytes 5-9/10": nil, "bytes 0-4/5x": nil,
		"bytes -1-4/5": nil, "bytes *-4/5": nil, "bytes 0-9223372036854775808/*": nil,
	} {
		first, last, total, err := parseContentRange(value)
		if (err == nil) != (want != nil) || err == nil && !cmp.Equal(want, []int64{first, last, total}) {
			t.Errorf("parseContentRange(%q) = %d, %d, %d, %v; want %d", value, first, last, total, err, want)
		}
	}
}
