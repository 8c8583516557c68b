package dashboard

import (
	"context"
	"errors"
	"io/fs"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/klinghook/klinghook/internal/admin"
	"github.com/klinghook/klinghook/internal/store"
	"github.com/klinghook/klinghook/tasks"
)

// filePolicy prevents a file that is opened in a browser from running scripts.
const filePolicy = "default-src 'none'; media-src 'self'; img-src 'self'; style-src 'unsafe-inline'; frame-ancestors 'none'; sandbox"

// shownTypes are the types of files that browsers show without running anything. All
// others are downloads.
var shownTypes = []string{
	"video/mp4", "video/quicktime", "video/webm", "video/x-matroska", "video/avi", "video/3gpp", "video/mp2t",
	"image/jpeg", "image/png", "image/webp", "image/avif", "image/gif", "image/heic", "image/heif", "image/bmp", "image/tiff", "image/jxl",
	"audio/mpeg", "audio/wave", "audio/mp4", "audio/aac", "audio/ogg", "audio/flac", "audio/aiff", "audio/webm",
}

// sendTimeout is how long a client may take to accept a part of a file.
const sendTimeout = 30 * time.Second

// storedFile returns a file that is in the bucket, or store.ErrNotFound.
func (d *dashboard) storedFile(ctx context.Context, job tasks.JobKey, name string) (store.Media, error) {
	if strings.ContainsRune(name, 0) {
		return store.Media{}, store.ErrNotFound
	}
	file, err := d.cfg.Store.Medium(ctx, job, name)
	if err == nil && file.Object == "" {
		err = store.ErrNotFound
	}
	return file, err
}

// sendFile sends a stored file, or the requested part of it. If links is above zero and
// the bucket signs links, it redirects to a link that is valid that long.
func (d *dashboard) sendFile(w http.ResponseWriter, r *http.Request, file store.Media, links time.Duration) {
	header := w.Header()
	header.Set("Content-Security-Policy", filePolicy)
	header.Set("X-Content-Type-Options", "nosniff")
	if links > 0 {
		link, err := d.cfg.Bucket.SignedURL(r.Context(), file.Object, links)
		if err != nil {
			d.refuseFile(w, r, err)
			return
		}
		if link != "" {
			header.Set("Cache-Control", "no-store")
			http.Redirect(w, r, link, http.StatusTemporaryRedirect)
			return
		}
	}
	object, err := d.cfg.Bucket.Open(r.Context(), file.Object)
	if err != nil {
		d.refuseFile(w, r, err)
		return
	}
	defer func() { _ = object.Close() }() // only read
	if slices.Contains(shownTypes, file.ContentType) {
		header.Set("Content-Type", file.ContentType)
	} else {
		header.Set("Content-Type", "application/octet-stream")
		header.Set("Content-Disposition", "attachment")
	}
	header.Set("Cache-Control", "private, no-cache")
	if version := r.URL.Query().Get("v"); version != "" && strings.HasPrefix(file.SHA256, version) { // the link changes with the file
		header.Set("Cache-Control", "private, max-age=86400")
	}
	if file.SHA256 != "" {
		header.Set("ETag", `"`+file.SHA256+`"`)
	}
	http.ServeContent(&fileWriter{deadlineWriter: newDeadlineWriter(w), r: r}, r, "", file.StoredAt, object)
}

// fileWriter answers a bad Range with problem details instead of text.
type fileWriter struct {
	deadlineWriter
	r       *http.Request
	refused bool
}

// WriteHeader implements [http.ResponseWriter].
func (w *fileWriter) WriteHeader(status int) {
	if w.refused = status == http.StatusRequestedRangeNotSatisfiable; w.refused {
		admin.Refuse(w.ResponseWriter, w.r, status, "Range is malformed, or begins after the end of the file")
		return
	}
	w.ResponseWriter.WriteHeader(status)
}

// Write implements [http.ResponseWriter].
func (w *fileWriter) Write(part []byte) (int, error) {
	if w.refused {
		return len(part), nil
	}
	return w.deadlineWriter.Write(part)
}

// refuseFile reports that a file cannot be read.
func (d *dashboard) refuseFile(w http.ResponseWriter, r *http.Request, err error) {
	problem := d.problemOf(err)
	if errors.Is(err, fs.ErrNotExist) {
		problem = problemf(http.StatusNotFound, "the file is no longer in the bucket; download it again")
	}
	admin.Refuse(w, r, problem.Status, problem.Detail)
}

// deadlineWriter sets a deadline for each write instead of the whole response, because
// sending a video may take long.
type deadlineWriter struct {
	http.ResponseWriter
	control *http.ResponseController
}

// newDeadlineWriter also removes the deadline for reading the request, which would end the
// request's context.
func newDeadlineWriter(w http.ResponseWriter) deadlineWriter {
	control := http.NewResponseController(w)
	_ = control.SetReadDeadline(time.Time{}) // not supported by test recorders
	return deadlineWriter{w, control}
}

// Write implements [http.ResponseWriter].
func (w deadlineWriter) Write(part []byte) (int, error) {
	_ = w.control.SetWriteDeadline(time.Now().Add(sendTimeout)) // not supported by test recorders
	return w.ResponseWriter.Write(part)
}
