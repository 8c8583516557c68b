package media

import (
	"bytes"
	"crypto/md5"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"hash/crc32"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
)

// raw is a response with these header lines and exactly this body, after which the
// connection ends.
func raw(status int, body []byte, header ...string) string {
	return fmt.Sprintf("HTTP/1.1 %d Odd\r\nConnection: close\r\n%s\r\n\r\n%s", status, strings.Join(header, "\r\n"), body)
}

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
	whole := func(header ...string) string { return raw(200, video, append(header, "Content-Length: 2000")...) }
	cut := whole(v1)[:len(whole(v1))-half]
	rest := raw(206, video[half:], v1, "Content-Range: bytes 1000-1999/2000")
	restart := raw(200, other, v2, "Content-Length: 2000")
	hexMD5 := func() string { s := md5.Sum(video); return hex.EncodeToString(s[:]) }()
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
		{"last chunk missing", []string{raw(200, fmt.Appendf(nil, "3e8\r\n%s\r\n", video[:half]), "Transfer-Encoding: chunked")}, nil},

		// The answer to a resume.
		{"200 with the rest as a range", []string{cut, raw(200, video[half:], v1, "Content-Range: bytes 1000-1999/2000")}, video},
		{"200 with another rest as a range", []string{cut, raw(200, other[half:], v2, "Content-Range: bytes 1000-1999/2000"), restart}, other},
		{"200 with the rest", []string{cut, raw(200, video[half:], v1, "Content-Length: 1000", "Content-Type: video/mp4")}, nil},
		{"200 with the rest, length unknown", []string{cut, raw(200, fmt.Appendf(nil, "3e8\r\n%s\r\n0\r\n\r\n", video[half:]), v1, "Transfer-Encoding: chunked", "Content-Type: video/mp4")}, nil},
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
		{"416 with the received length", []string{cut, raw(416, nil, v1, "Content-Range: bytes */1000")}, nil},

		// Checksums.
		{"Content-MD5", []string{whole("Content-MD5: " + md5Of(video))}, video},
		{"Content-MD5 in hex", []string{whole("Content-MD5: " + hexMD5)}, video},
		{"Content-MD5 that is none", []string{whole("Content-MD5: none")}, video},
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
			var requests atomic.Int32
			url, hostport := serve(t, func(w http.ResponseWriter, _ *http.Request) {
				n := min(int(requests.Add(1)), len(tt.answers)) - 1
				conn, _, err := http.NewResponseController(w).Hijack()
				if err != nil {
					panic(err)
				}
				_, _ = conn.Write([]byte(tt.answers[n]))
				_ = conn.Close()
			})
			got, _, err := fetch(t, NewFetcher(Config{Allow: []string{hostport}, MaxResumes: 3}), url, Video)
			if (err == nil) != (tt.want != nil) || !bytes.Equal(got, tt.want) {
				t.Errorf("%d bytes stored with SHA-256 %s, %v; want %d with %s", len(got), sum(got), err, len(tt.want), sum(tt.want))
			}
			if n := int(requests.Load()); tt.want != nil && n != len(tt.answers) {
				t.Errorf("%d requests, want %d", n, len(tt.answers))
			}
		})
	}
}
