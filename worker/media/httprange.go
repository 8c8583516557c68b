package media

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
)

// validator tells whether two answers are of the same file.
type validator struct{ etag, lastModified string }

// validatorOf reads a response's validator. A weak ETag vouches for the meaning
// of a file only, not for its bytes, so it does not count.
func validatorOf(h http.Header) validator {
	v := validator{etag: h.Get("ETag"), lastModified: h.Get("Last-Modified")}
	if !strings.HasPrefix(v.etag, `"`) {
		v.etag = ""
	}
	return v
}

// ifRange returns the value of If-Range; empty when nothing may be resumed.
func (v validator) ifRange() string {
	if v.etag != "" {
		return v.etag
	}
	return v.lastModified
}

// contradicts reports whether a response says that it is of another file. What
// it leaves out contradicts nothing.
func (v validator) contradicts(h http.Header) bool {
	other := validatorOf(h)
	if v.etag != "" {
		return other.etag != "" && other.etag != v.etag
	}
	return other.lastModified != "" && other.lastModified != v.lastModified
}

// contentRange is the Content-Range of a 206: the offsets of the first and the
// last byte, and the file's length, -1 when unknown.
type contentRange struct{ first, last, total int64 }

// parseContentRange reads "bytes 0-499/1234" or "bytes 0-499/*" (RFC 9110,
// section 14.4).
func parseContentRange(value string) (contentRange, error) {
	invalid := func() (contentRange, error) {
		return contentRange{}, fmt.Errorf("the server sent a part of the file with Content-Range %.80q", value)
	}
	spec, ok := strings.CutPrefix(value, "bytes ")
	span, total, ok2 := strings.Cut(spec, "/")
	first, last, ok3 := strings.Cut(span, "-")
	if !ok || !ok2 || !ok3 {
		return invalid()
	}
	r := contentRange{total: -1}
	for _, field := range []struct {
		text string
		to   *int64
	}{{first, &r.first}, {last, &r.last}, {total, &r.total}} {
		if field.text == "*" && field.to == &r.total {
			continue
		}
		n, err := strconv.ParseUint(field.text, 10, 63)
		if err != nil {
			return invalid()
		}
		*field.to = int64(n)
	}
	if r.last < r.first || (r.total >= 0 && r.last >= r.total) {
		return invalid()
	}
	return r, nil
}
