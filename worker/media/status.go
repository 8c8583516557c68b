package media

import (
	"fmt"
	"math"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/klinghook/klinghook/tasks"
)

// StatusError reports that a server answered, but not with the file.
type StatusError struct {
	// Host is the host and port that answered, which may be a redirect's target.
	Host string
	// Status is the HTTP status code.
	Status int
}

// Error returns the status and the host.
func (e *StatusError) Error() string {
	return fmt.Sprintf("%s answered %d %s", e.Host, e.Status, http.StatusText(e.Status))
}

// statusFailure returns the error for an answer without the file: a StatusError, either
// permanent or with the wait that the server asked for.
//
// Gone (404, 410) is permanent, and so are 405, 414 and 451, which no repetition of the
// same GET can change. Everything else is retried: 401 and 403 too, as the link may come
// before its file, and 400, which some stores answer for a signature not yet valid.
func statusFailure(resp *http.Response, now time.Time) error {
	err := &StatusError{Host: resp.Request.URL.Host, Status: resp.StatusCode}
	switch resp.StatusCode {
	case http.StatusNotFound, http.StatusGone,
		http.StatusMethodNotAllowed, http.StatusRequestURITooLong, http.StatusUnavailableForLegalReasons:
		return tasks.Permanent(err)
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		if wait := tasks.ParseRetryAfter(resp.Header.Get("Retry-After"), now); wait > 0 {
			return tasks.RetryAfter(err, wait)
		}
	}
	return err
}

// validator identifies a version of a file by its headers.
type validator struct{ etag, lastModified string }

// validatorOf reads a response's validator. A weak ETag does not count: it says nothing
// about the bytes.
func validatorOf(header http.Header) validator {
	v := validator{etag: header.Get("ETag"), lastModified: header.Get("Last-Modified")}
	if !strings.HasPrefix(v.etag, `"`) {
		v.etag = ""
	}
	return v
}

// ifRange returns the value of If-Range; empty if the file cannot be resumed.
func (v validator) ifRange() string {
	if v.etag != "" {
		return v.etag
	}
	return v.lastModified
}

// isOf reports whether a response is certainly of this version. A response without a
// validator may be of any version.
func (v validator) isOf(header http.Header) bool {
	return v.ifRange() != "" && v.ifRange() == validatorOf(header).ifRange()
}

// contentRange is "bytes 0-499/1234", or "bytes 0-499/*" if the length is unknown.
var contentRange = regexp.MustCompile(`(?i)^bytes[ =]+(\d+)-(\d+)/(\d+|\*)$`)

// parseContentRange returns the offsets of the first and last byte, and the file's
// length, -1 if unknown.
func parseContentRange(value string) (first, last, total int64, err error) {
	numbers := [3]int64{-1, -1, -1}
	match := contentRange.FindStringSubmatch(value)
	for i := 1; i < len(match) && err == nil; i++ {
		if match[i] != "*" {
			numbers[i-1], err = strconv.ParseInt(match[i], 10, 64)
		}
	}
	first, last, total = numbers[0], numbers[1], numbers[2]
	if match == nil || err != nil || last < first || last == math.MaxInt64 || total >= 0 && last >= total {
		return 0, 0, 0, fmt.Errorf("the server sent a part of the file with Content-Range %.80q", value)
	}
	return first, last, total, nil
}

// codingOf returns the coding of a response's body; empty if there is none. Some servers
// send values in Content-Encoding that are not codings: none, utf-8, binary, or
// aws-chunked, the coding of the upload.
func codingOf(header http.Header) string {
	for item := range strings.SplitSeq(strings.Join(header["Content-Encoding"], ","), ",") {
		switch coding := strings.ToLower(strings.TrimSpace(item)); coding {
		case "gzip", "x-gzip", "compress", "x-compress", "deflate", "br", "zstd", "dcb", "dcz", "exi", "pack200-gzip", "aes128gcm":
			return coding
		}
	}
	return ""
}
