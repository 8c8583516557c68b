package media

import (
	"fmt"
	"net/http"
	"time"

	"github.com/klinghook/klinghook/tasks"
)

// StatusError says that a server answered, but not with the file.
type StatusError struct {
	// Host is the host and port that answered, which may be a redirect's target.
	Host string
	// Status is the HTTP status code.
	Status int
}

// Error names the status and who gave it.
func (e *StatusError) Error() string {
	return fmt.Sprintf("%s answered %d %s", e.Host, e.Status, http.StatusText(e.Status))
}

// statusFailure returns the error for an answer without the file: a StatusError,
// declared permanent or with the wait that the server asked for.
//
// Gone (404, 410) is permanent, and so is what no repetition of the same GET can
// mend: 405, 414, 451. Everything else is worth another attempt; 401 and 403
// too, as the link may come before its file, and 400, which some stores give for
// a signature that is not valid yet.
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
