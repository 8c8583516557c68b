package media

import (
	"bytes"
	"crypto/md5"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/klinghook/klinghook/tasks"
)

func TestExactFileOrNothingIsStored(t *testing.T) {
	t.Parallel()
	const size, half = 2000, 1000
	const v1, v2 = `ETag: "v1"`, `ETag: "v2"`
	video, other := testVideo(size, 1), testVideo(size, 2)
	base := base64.StdEncoding.EncodeToString
	md5Of := func(b []byte) string { s := md5.Sum(b); return base(s[:]) }
	crcOf := func(b []byte) string {
		s := crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli))
		return base([]byte{byte(s >> 24), byte(s >> 16), byte(s >> 8), byte(s)})
	}
	whole := func(header ...string) string { return full(200, video, header...) }
	cut := whole(v1)[:len(whole(v1))-half]
	rest := raw(206, video[half:], v1, "Content-Range: bytes 1000-1999/2000")
	restart := full(200, other, v2)
	hexMD5 := func() string { s := md5.Sum(video); return hex.EncodeToString(s[:]) }()
	chunked := func(status int, body []byte, ending string, header ...string) string {
		return raw(status, fmt.Appendf(nil, "%x\r\n%s\r\n%s", len(body), body, ending), append(header, "Transfer-Encoding: chunked")...)
	}
	const end = "0\r\n\r\n"
	tests := []struct {
		name    string
		answers []string // the last one repeatedly
		want    []byte
	}{
		// The first answer.
		{"200 with the head", []string{raw(200, video[:half], v1, "Content-Range: bytes 0-999/2000"), rest}, video},
		{"200 with the head, no validator", []string{raw(200, video[:half], "Content-Range: bytes 0-999/2000")}, nil},
		{"200 with the tail", []string{raw(200, video[half:], v1, "Content-Range: bytes 1000-1999/2000", "Content-Type: video/mp4")}, nil},
		{"200 with the whole range", []string{whole("Content-Range: bytes 0-1999/2000")}, video},
		{"200 with an unreadable range", []string{whole(v1, "Content-Range: bytes 0-/2000")}, nil},
		{"206 with the whole range", []string{raw(206, video, "Content-Range: bytes 0-1999/2000")}, video},
		{"206 with the whole range in Bytes", []string{raw(206, video, "Content-Range: Bytes 0-1999/2000", "Content-Length: 2000")}, video},
		{"206 with the head", []string{raw(206, video[:half], v1, "Content-Range: bytes 0-999/2000"), rest}, video},
		{"206 with the tail", []string{raw(206, video[half:], v1, "Content-Range: bytes 1000-1999/2000", "Content-Type: video/mp4")}, nil},
		{"206 of other units", []string{raw(206, video, v1, "Content-Range: items 0-1999/2000")}, nil},
		{"206 that ends before it starts", []string{raw(206, video, v1, "Content-Range: bytes 1-0/2000")}, nil},
		{"206 that ends beyond the end", []string{raw(206, video, v1, "Content-Range: bytes 0-2000/2000")}, nil},
		{"206 of more than 64 bits", []string{raw(206, video, v1, "Content-Range: bytes 0-9223372036854775808/*")}, nil},
		{"206 without a range", []string{raw(206, video, v1)}, nil},
		{"206 of unknown total", []string{raw(206, video, v1, "Content-Range: bytes 0-1999/*")}, nil},
		{"206 of unknown total, then its end", []string{raw(206, video, v1, "Content-Range: bytes 0-1999/*"), raw(416, nil, "Content-Range: Bytes */2000")}, video},
		{"206 with two ranges", []string{raw(206, video[:half], v1, "Content-Range: bytes 0-999/1000", "Content-Range: bytes 1000-1999/2000")}, nil},
		{"206 with a length besides", []string{raw(206, video[:half], v1, "Content-Range: bytes 0-1999/2000", "Content-Length: 1000")}, nil},
		{"203", []string{raw(203, video, "Content-Length: 2000")}, nil},
		{"multipart", []string{raw(206, video, v1, "Content-Range: bytes 0-1999/2000", "Content-Type: multipart/byteranges; boundary=x")}, nil},
		{"length longer than the body", []string{raw(200, video[:half], "Content-Length: 2000")}, nil},
		{"two lengths", []string{raw(200, video, "Content-Length: 1000", "Content-Length: 2000")}, nil},
		{"chunk cut", []string{raw(200, fmt.Appendf(nil, "7d0\r\n%s", video[:half]), "Transfer-Encoding: chunked")}, nil},
		{"last chunk missing", []string{chunked(200, video[:half], "")}, nil},
		{"chunked", []string{chunked(200, video, end)}, video},
		{"shorter than the recognised length", []string{full(200, video[:100])}, video[:100]},
		{"exactly the recognised length", []string{full(200, video[:sniffLen])}, video[:sniffLen]},

		// The answer to a resume.
		{"200 with the rest as a range", []string{cut, raw(200, video[half:], v1, "Content-Range: bytes 1000-1999/2000")}, video},
		{"200 with another rest as a range", []string{cut, raw(200, other[half:], v2, "Content-Range: bytes 1000-1999/2000"), restart}, other},
		{"200 with the rest", []string{cut, raw(200, video[half:], v1, "Content-Length: 1000", "Content-Type: video/mp4")}, nil},
		{"200 with the rest, length unknown", []string{cut, chunked(200, video[half:], end, v1, "Content-Type: video/mp4")}, nil},
		{"the rest without being asked", []string{raw(200, video[:half], "Content-Length: 2000"), raw(200, video[half:], "Content-Length: 1000", "Content-Type: video/mp4")}, nil},
		{"another ETag", []string{cut, raw(206, other[half:], v2, "Content-Range: bytes 1000-1999/2000"), restart}, other},
		{"weak ETag", []string{cut, raw(206, other[half:], `ETag: W/"v1"`, "Content-Range: bytes 1000-1999/2000"), restart}, other},
		{"no ETag", []string{cut, raw(206, other[half:], "Content-Range: bytes 1000-1999/2000"), restart}, other},
		{"another ETag, from the start", []string{cut, raw(206, other, v2, "Content-Range: bytes 0-1999/2000")}, other},
		{"another total", []string{cut, raw(206, video[half:], v1, "Content-Range: bytes 1000-1999/3000")}, nil},
		{"another length", []string{cut, raw(200, video[:half+1], v1, "Content-Length: 1001")}, nil},
		{"beyond the end", []string{cut, raw(206, append(video[half:size:size], 0), v1, "Content-Range: bytes 1000-2000/*")}, nil},
		{"starts later", []string{cut, raw(206, video[half+1:], v1, "Content-Range: bytes 1001-1999/2000")}, nil},
		{"starts earlier", []string{cut, raw(206, video[100:], v1, "Content-Range: bytes 100-1999/2000")}, video},
		{"starts earlier, and is cut", []string{cut, raw(206, video[:1500], v1, "Content-Range: bytes 0-1999/2000"), raw(206, video[1500:], v1, "Content-Range: bytes 1500-1999/2000")}, video},
		{"is all earlier", []string{cut, raw(206, video[:half], v1, "Content-Range: bytes 0-999/2000"), rest}, video},
		{"longer than its range", []string{cut, raw(206, video[half:], v1, "Content-Range: bytes 1000-1500/2000")}, nil},
		{"longer than its length", []string{cut, raw(206, video[half:], v1, "Content-Range: bytes 1000-1999/2000", "Content-Length: 10")}, nil},
		{"no range", []string{cut, raw(206, video[half:], v1)}, nil},
		{"multipart rest", []string{cut, raw(206, video[half:], v1, "Content-Range: bytes 1000-1999/2000", "Content-Type: multipart/byteranges; boundary=x")}, nil},
		{"416 with the total", []string{cut, raw(416, nil, v1, "Content-Range: bytes */2000")}, nil},
		{"416 of another length", []string{cut, raw(416, nil, "Content-Range: bytes */10"), restart}, other},
		{"416 of a shorter version", []string{cut, raw(416, nil, v1, "Content-Range: bytes */999"), full(200, video[:999], v1)}, video[:999]},
		{"416 with the received length", []string{cut, raw(416, nil, v1, "Content-Range: bytes */1000")}, nil},
		{"all of it again", []string{cut, whole(v1)}, video},
		{"cut within the first bytes", []string{whole(v1)[:len(whole(v1))-size+100], raw(206, video[100:], v1, "Content-Range: bytes 100-1999/2000")}, video},
		{"the rest in pieces", []string{cut, raw(206, video[half:1500], v1, "Content-Range: bytes 1000-1499/*"), raw(206, video[1500:], v1, "Content-Range: bytes 1500-1999/*")}, video},
		{"shorter than its range, total unknown", []string{chunked(200, video[:half], "", v1), chunked(206, video[half:1100], end, v1, "Content-Range: bytes 1000-1999/*"), raw(206, video[1100:], v1, "Content-Range: bytes 1100-1999/2000")}, video},
		{"a moment of absence", []string{cut, raw(502, nil), "", rest}, video},

		// Unmarked ends.
		{"whole, but the last chunk is missing", []string{chunked(200, video, "", v1), raw(416, nil, v1, "Content-Range: bytes */2000")}, video},
		{"confirmed by a 416", []string{raw(200, video, v1), raw(416, nil, "Content-Range: bytes */2000")}, video},
		{"cut", []string{raw(200, video[:half], v1), rest}, video},
		{"cut once, no ranges", []string{raw(200, video[:half]), raw(200, video), raw(200, video)}, video},

		// Checksums.
		{"Content-MD5", []string{whole("Content-MD5: " + md5Of(video))}, video},
		{"Content-MD5 in hex", []string{whole("Content-MD5: " + hexMD5)}, video},
		{"malformed Content-MD5", []string{whole("Content-MD5: none")}, video},
		{"Content-MD5 of another file", []string{whole("Content-MD5: " + md5Of(other))}, nil},
		{"Content-MD5, after a resume", []string{strings.Replace(cut, v1, v1+"\r\nContent-MD5: "+md5Of(other), 1), rest}, nil},
		{"Content-MD5 of the part", []string{cut, strings.Replace(rest, v1, v1+"\r\nContent-MD5: "+md5Of(video[half:]), 1)}, video},
		{"Content-MD5 of another part", []string{cut, strings.Replace(rest, v1, v1+"\r\nContent-MD5: "+md5Of(other), 1)}, nil},
		{"Content-MD5 of the file with a part", []string{strings.Replace(cut, v1, v1+"\r\nX-Goog-Hash: md5="+md5Of(video), 1), strings.Replace(rest, v1, v1+"\r\nContent-MD5: "+md5Of(video), 1)}, video},
		{"x-goog-hash", []string{whole("x-goog-hash: crc32c=" + crcOf(video) + ",md5=" + md5Of(video))}, video},
		{"x-goog-hash, other crc32c", []string{whole("x-goog-hash: crc32c="+crcOf(other), "x-goog-hash: md5="+md5Of(video))}, nil},
		{"x-goog-hash, other md5", []string{whole("x-goog-hash: crc32c="+crcOf(video), "x-goog-hash: md5="+md5Of(other))}, nil},
		{"x-goog-hash with a part", []string{raw(206, video[:half], v1, "Content-Range: bytes 0-999/2000", "x-goog-hash: crc32c="+crcOf(other)), rest}, nil},
		{"x-goog-hash of the compressed file", []string{whole("x-goog-hash: crc32c="+crcOf(other), "x-goog-stored-content-encoding: gzip")}, video},
		{"Repr-Digest", []string{whole("Repr-Digest: md5=:" + md5Of(other) + ":")}, nil},

		// Encodings.
		{"gzip", []string{whole("Content-Encoding: gzip")}, nil},
		{"br after another", []string{whole("Content-Encoding: aws-chunked, br")}, nil},
		{"identity", []string{whole("Content-Encoding: identity")}, video},
		{"none", []string{whole("Content-Encoding: None")}, video},
		{"utf-8", []string{whole("Content-Encoding: UTF-8")}, video},
		{"binary", []string{whole("Content-Encoding: binary")}, video},
		{"aws-chunked", []string{whole("Content-Encoding: aws-chunked")}, video},
		{"aws-chunked, still in chunks", []string{raw(200, append([]byte("10000;chunk-signature=0a\r\n"), video...), "Content-Encoding: aws-chunked", "Content-Type: video/mp4")}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			url, hostport, requests := answering(t, tt.answers...)
			got, _, err := fetch(t, NewFetcher(Config{Allow: []string{hostport}, MaxResumes: 3}), url, tasks.MediaVideo)
			if (err == nil) != (tt.want != nil) || !bytes.Equal(got, tt.want) {
				t.Errorf("%d bytes stored with SHA-256 %s, %v; want %d with %s", len(got), sum(got), err, len(tt.want), sum(tt.want))
			}
			if n := int(requests.Load()); tt.want != nil && n != len(tt.answers) {
				t.Errorf("%d requests, want %d", n, len(tt.answers))
			}
		})
	}
}

func TestResumeRequestsTheSameVersion(t *testing.T) {
	t.Parallel()
	const size, piece = 200 << 10, 30 << 10
	tests := []struct {
		name, etag string
		modified   int64  // in seconds
		ifRange    string // empty: starts again
	}{
		{"ETag", `"v1"`, 1, `"v1"`},
		{"Last-Modified", "", 1, "Thu, 01 Jan 1970 00:00:01 GMT"},
		{"weak ETag", `W/"v1"`, 0, ""},
		{"no validator", "", 0, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			video := testVideo(size, 1)
			var requests atomic.Int32
			url, hostport := serve(t, func(w http.ResponseWriter, r *http.Request) {
				n := int(requests.Add(1))
				wantRange := ""
				if tt.ifRange != "" && n > 1 {
					wantRange = fmt.Sprintf("bytes=%d-", (n-1)*piece)
				}
				if got, ifRange := r.Header.Get("Range"), r.Header.Get("If-Range"); got != wantRange || n > 1 && ifRange != tt.ifRange {
					t.Errorf("request %d: Range %q if %q, want %q if %q", n, got, ifRange, wantRange, tt.ifRange)
				}
				if tt.etag != "" {
					w.Header().Set("ETag", tt.etag)
				}
				if tt.ifRange != "" || n == 1 {
					w = &cut{w, piece}
				}
				http.ServeContent(w, r, "", time.Unix(tt.modified, 0), bytes.NewReader(video))
			})
			got, _, err := fetch(t, NewFetcher(Config{Allow: []string{hostport}}), url, tasks.MediaVideo)
			if err != nil {
				t.Fatal(err)
			}
			same(t, got, video)
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
	_, err := downloadAndPublish(t.Context(), NewFetcher(Config{Allow: []string{hostport}}), Request{Link: url, Kind: tasks.MediaVideo, Bucket: bucket, Object: objectName})
	if err == nil || tasks.IsPermanent(err) || !strings.Contains(err.Error(), "write to bucket") {
		t.Errorf("Download = %v, want the bucket's failure, to be retried", err)
	}
	var dropped *droppedError
	if errors.As(err, &dropped) || n.Load() != 1 {
		t.Errorf("asked the server %d times, want once: it is not at fault", n.Load())
	}
}
