package media

import (
	"errors"
	"fmt"
	"net/http"
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
func validatorOf(h http.Header) validator {
	v := validator{etag: h.Get("ETag"), lastModified: h.Get("Last-Modified")}
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

// contradicts reports whether a response is of another version. Missing headers
// contradict nothing.
func (v validator) contradicts(h http.Header) bool {
	other := validatorOf(h)
	if v.etag != "" {
		return other.etag != "" && other.etag != v.etag
	}
	return other.lastModified != "" && other.lastModified != v.lastModified
}

// parseContentRange reads "bytes 0-499/1234" or "bytes 0-499/*": the offsets of the
// first and last byte, and the file's length, -1 if unknown.
func parseContentRange(value string) (first, last, total int64, err error) {
	total = -1
	format := "bytes %d-%d/%d"
	n, err := fmt.Sscanf(value, format, &first, &last, &total)
	if n == 2 && strings.HasSuffix(value, "/*") {
		err = nil
	}
	if err == nil && (first < 0 || last < first || total >= 0 && last >= total) {
		err = errors.New("out of range")
	}
	if err != nil {
		return 0, 0, 0, fmt.Errorf("the server sent a part of the file with Content-Range %.80q", value)
	}
	return first, last, total, nil
}
