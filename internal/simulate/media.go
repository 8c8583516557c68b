package simulate

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// The files of a job that succeeded.
const (
	videoFile     = "video.mp4"
	thumbnailFile = "thumbnail.jpg"
)

// stallTimeout is how long the client of a download may read nothing.
const stallTimeout = 30 * time.Second

// giver is the origin of a link.
type giver string

const (
	byCallback giver = "callback"
	byLookup   giver = "lookup"
)

// link returns a link to a file, which expires Config.LinkTTL after it was given.
func (s *Simulator) link(j *job, file string, by giver, given time.Time) string {
	expires := strconv.FormatInt(given.Add(s.cfg.LinkTTL).Unix(), 10)
	query := url.Values{"token": {s.token(j.id, file, by, expires)}, "expires": {expires}}
	return fmt.Sprintf("%s/media/%s/%s?%s", j.base, j.id, file, query.Encode())
}

// token signs a link.
func (s *Simulator) token(id, file string, by giver, expires string) string {
	mac := hmac.New(sha256.New, s.linkKey)
	fmt.Fprintf(mac, "%s/%s/%s/%s", id, file, by, expires)
	return hex.EncodeToString(mac.Sum(nil)[:16])
}

// serveMedia is GET /media/{id}/{file}.
func (s *Simulator) serveMedia(w http.ResponseWriter, r *http.Request) {
	id, file, query := r.PathValue("id"), r.PathValue("file"), r.URL.Query()
	gave := func(by giver) bool {
		return hmac.Equal([]byte(query.Get("token")), []byte(s.token(id, file, by, query.Get("expires"))))
	}
	expires, _ := strconv.ParseInt(query.Get("expires"), 10, 64) // the token signs it
	job := s.find(id, "")
	switch {
	case !gave(byCallback) && !gave(byLookup):
		http.Error(w, "the link's token is not valid", http.StatusForbidden)
	case job == nil:
		http.Error(w, "the file is gone", http.StatusNotFound)
	case gave(byCallback) && job.fate.deadLink != 0:
		s.count(func(stats *Stats) { stats.Media.Dead++ })
		http.Error(w, "the link is dead; look the task up for a new one", job.fate.deadLink)
	case time.Now().Unix() > expires:
		s.count(func(stats *Stats) { stats.Media.Expired++ })
		http.Error(w, "the link has expired; look the task up for a new one", http.StatusForbidden)
	default:
		s.serveFile(w, r, job, file)
	}
}

// serveFile sends a file, as slowly and as broken as configured.
func (s *Simulator) serveFile(w http.ResponseWriter, r *http.Request, j *job, file string) {
	if strings.Contains(r.Header.Get("Range"), ",") {
		r = r.Clone(r.Context())
		r.Header.Del("Range") // a server need not support several ranges at once
	}
	content, err := s.content(j, file)
	if err != nil {
		http.Error(w, "the file cannot be made", http.StatusInternalServerError)
		return
	}
	size, _ := content.Seek(0, io.SeekEnd) // never fails
	d := &download{ReadSeeker: content, ctx: r.Context(), client: http.NewResponseController(w), perSecond: s.cfg.SlowMedia}
	header := w.Header()
	header.Set("Content-Type", "image/jpeg")
	if file == videoFile {
		d.cut = int64(j.fate.cut * float64(size))
		header.Set("Content-Type", "video/mp4")
	}
	header.Set("ETag", fmt.Sprintf(`"%s-%s-%d"`, j.id, file, size))
	header.Set("Cache-Control", "private")
	http.ServeContent(w, r, file, j.end().at, d)
	s.count(func(stats *Stats) {
		stats.Media.Requests++
		if r.Header.Get("Range") != "" {
			stats.Media.Resumed++
		}
		if d.brokenOff {
			stats.Media.BrokenOff++
		}
	})
}

// content returns the bytes of a file.
func (s *Simulator) content(j *job, file string) (io.ReadSeeker, error) {
	switch {
	case file == thumbnailFile:
		picture, err := thumbnail(j.id)
		return bytes.NewReader(picture), err
	case s.cfg.MediaSize > 0:
		return newVideo(s.cfg.RandomSeed, j.id, s.cfg.MediaSize), nil
	}
	return bytes.NewReader(s.cfg.Video), nil
}

// download is content on its way to a client.
type download struct {
	io.ReadSeeker
	ctx       context.Context
	client    *http.ResponseController
	perSecond int64 // bytes; 0 is no limit
	// cut is the offset at which a download breaks off, if it started before it.
	cut int64

	start, offset int64
	brokenOff     bool
}

// Seek implements io.Seeker.
func (d *download) Seek(offset int64, whence int) (int64, error) {
	at, err := d.ReadSeeker.Seek(offset, whence)
	d.start, d.offset = at, at
	return at, err
}

// Read implements io.Reader. After an error net/http closes the connection, since it sent
// less than it promised.
func (d *download) Read(p []byte) (int, error) {
	if d.start < d.cut {
		p = p[:min(int64(len(p)), d.cut-d.offset)]
		if len(p) == 0 {
			d.brokenOff = true
			return 0, io.ErrUnexpectedEOF
		}
	}
	if d.perSecond > 0 {
		p = p[:min(int64(len(p)), max(1, d.perSecond/10))]
		if err := sleep(d.ctx, time.Duration(float64(len(p))/float64(d.perSecond)*float64(time.Second))); err != nil {
			return 0, err
		}
	}
	// The server's own deadline is too short for files.
	_ = d.client.SetWriteDeadline(time.Now().Add(stallTimeout)) // tests have none
	n, err := d.ReadSeeker.Read(p)
	d.offset += int64(n)
	return n, err
}

// videoHead begins an MP4 file, whose last box has its length in 64 bits.
const videoHead = "\x00\x00\x00\x18ftypisom\x00\x00\x02\x00isommp42\x00\x00\x00\x01mdat"

// minVideo is the smallest size of a video, in bytes.
const minVideo = int64(len(videoHead)) + 8

// video is content of any size that looks like an MP4 file and cannot be played: a valid
// head, and then the job's own noise, repeated.
type video struct {
	head  []byte
	noise [4093]byte // a prime length, so that a download from a wrong offset has other bytes
}

func newVideo(seed uint64, jobID string, size int64) io.ReadSeeker {
	v := &video{head: binary.BigEndian.AppendUint64([]byte(videoHead), uint64(size-minVideo+16))}
	_, _ = rand.NewChaCha8(sha256.Sum256(fmt.Appendf(nil, "%d/%s", seed, jobID))).Read(v.noise[:]) // never fails
	return io.NewSectionReader(v, 0, size)
}

// ReadAt implements io.ReaderAt, without an end.
func (v *video) ReadAt(p []byte, offset int64) (int, error) {
	for n := 0; n < len(p); {
		n += copy(p[n:], v.noise[(offset+int64(n))%int64(len(v.noise)):])
	}
	if offset < int64(len(v.head)) {
		copy(p, v.head[offset:])
	}
	return len(p), nil
}

// thumbnail draws a small picture in the job's own colour.
func thumbnail(jobID string) ([]byte, error) {
	sum := sha256.Sum256([]byte(jobID))
	picture := image.NewRGBA(image.Rect(0, 0, 64, 36))
	for y := range 36 {
		for x := range 64 {
			picture.Set(x, y, color.RGBA{sum[0], uint8(4 * x), uint8(7 * y), 255})
		}
	}
	var encoded bytes.Buffer
	err := jpeg.Encode(&encoded, picture, nil)
	return encoded.Bytes(), err
}
