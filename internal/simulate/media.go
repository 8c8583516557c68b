package simulate

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// stalledAfter is how long a client of a download may take nothing.
const stalledAfter = 30 * time.Second

// serveMedia is GET /media/{id}/{file}.
func (s *Simulator) serveMedia(w http.ResponseWriter, r *http.Request) {
	id, file := r.PathValue("id"), r.PathValue("file")
	by, expires, ours := s.links.read(id, file, r.URL.Query())
	j := s.book.find(id)
	now := time.Now()
	switch {
	case !ours:
		http.Error(w, "the link's token is not valid", http.StatusForbidden)
	case j == nil:
		http.Error(w, "there is no such file any more", http.StatusNotFound)
	case by == byCallback && j.fate.deadLink != 0:
		s.count.add(func(s *Stats) { s.Media.Dead++ })
		http.Error(w, "the link is dead; look the task up for a fresh one", j.fate.deadLink)
	case now.After(expires):
		s.count.add(func(s *Stats) { s.Media.Expired++ })
		http.Error(w, "the link has expired; look the task up for a fresh one", http.StatusForbidden)
	default:
		s.serveFile(w, r, j, file)
	}
}

// serveFile sends a file, or what its fate leaves of it.
func (s *Simulator) serveFile(w http.ResponseWriter, r *http.Request, j *job, file string) {
	if strings.Contains(r.Header.Get("Range"), ",") {
		r = r.Clone(r.Context())
		r.Header.Del("Range") // several ranges at once need not be served
	}
	content, contentType, err := s.content(j, file)
	if err != nil {
		http.Error(w, "the file cannot be made", http.StatusInternalServerError)
		return
	}
	size, _ := content.Seek(0, io.SeekEnd) // never fails
	sent := &download{ReadSeeker: content, ctx: r.Context(), client: http.NewResponseController(w), perSecond: s.cfg.SlowMedia, cut: -1}
	if j.fate.cut > 0 && file == videoFile {
		sent.cut = int64(j.fate.cut * float64(size))
	}
	header := w.Header()
	header.Set("Content-Type", contentType)
	// A file is the same for as long as its job is known, and another job's differs.
	header.Set("ETag", fmt.Sprintf(`"%s-%s-%d"`, j.id, file, size))
	header.Set("Cache-Control", "private")
	defer func() {
		s.count.add(func(s *Stats) {
			s.Media.Requests++
			s.Media.Resumed += one(r.Header.Get("Range") != "")
			s.Media.BrokenOff += one(sent.brokenOff)
			s.Media.Bytes += sent.bytes
		})
	}()
	http.ServeContent(w, r, file, j.end().at, sent)
}

// content returns a file's bytes.
func (s *Simulator) content(j *job, file string) (content io.ReadSeeker, contentType string, err error) {
	if file == thumbnailFile {
		picture, err := thumbnail(j.id)
		return bytes.NewReader(picture), "image/jpeg", err
	}
	if s.cfg.MediaSize > 0 {
		return NewVideo(s.cfg.RandomSeed, j.id, s.cfg.MediaSize), "video/mp4", nil
	}
	return bytes.NewReader(s.cfg.Video), "video/mp4", nil
}

// download is a content on its way to a client: no faster than it may be, and
// cut off where it is to break.
type download struct {
	io.ReadSeeker
	ctx       context.Context
	client    *http.ResponseController
	perSecond int64 // 0 is no limit
	// cut is the offset at which a download ends that began before it; -1 for none.
	cut int64

	began     int64
	offset    int64
	bytes     int64
	brokenOff bool
}

// Seek is io.Seeker's.
func (d *download) Seek(offset int64, whence int) (int64, error) {
	at, err := d.ReadSeeker.Seek(offset, whence)
	d.began, d.offset = at, at
	return at, err
}

// Read is io.Reader's. After an error there is less than was promised, on which
// net/http sends what there is and closes the connection.
func (d *download) Read(p []byte) (int, error) {
	if d.began < d.cut {
		p = p[:min(int64(len(p)), d.cut-d.offset)]
		if len(p) == 0 {
			d.brokenOff = true
			return 0, io.ErrUnexpectedEOF
		}
	}
	if d.perSecond > 0 {
		p = p[:min(int64(len(p)), max(1, d.perSecond/10))]
		if err := d.pause(time.Duration(float64(len(p)) / float64(d.perSecond) * float64(time.Second))); err != nil {
			return 0, err
		}
	}
	// The listener's own time-out is for answers, not for files.
	_ = d.client.SetWriteDeadline(time.Now().Add(stalledAfter)) // a recorder has none
	n, err := d.ReadSeeker.Read(p)
	d.offset += int64(n)
	d.bytes += int64(n)
	return n, err
}

func (d *download) pause(wait time.Duration) error {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-d.ctx.Done():
		return d.ctx.Err()
	}
}
