package load

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/klinghook/klinghook/internal/source"
)

// Path is where the deliveries are posted.
const Path = "/webhooks/klingai"

// minBody is the least that a body can have in bytes.
const minBody = 420

// Event is the i-th event of a run: its job, of which it is the only one, and its
// body, which is of the given size. video is the link to the job's video; where it is
// empty the event tells of progress, after which there is nothing to download.
type Event struct {
	Index int
	Size  int
	Video string
}

// JobID is the event's job.
func (e Event) JobID() string { return fmt.Sprintf("vid_bench_%09d", e.Index) }

// Type is the event's type.
func (e Event) Type() string {
	if e.Video != "" {
		return "video.completed"
	}
	return "video.processing"
}

// Body returns the body. All bodies of one size and without a video are of the same
// length, and no two are the same.
func (e Event) Body() []byte {
	more := `"progress":42,`
	if e.Video != "" {
		more = fmt.Sprintf(`"video_url":%q,`, e.Video)
	}
	const form = `{"event":%q,"timestamp":"2026-01-15T10:30:00Z","data":{"job_id":%q,"status":%q,%s"duration":5,` +
		`"model":"kling-v1.5","created_at":"2026-01-15T10:25:00Z","prompt":"%s"},"request_id":"%032x"}`
	const prompt = "A lighthouse at dawn, slow pan over calm water, gulls in the distance. "
	body := fmt.Sprintf(form, e.Type(), e.JobID(), strings.TrimPrefix(e.Type(), "video."), more, "", e.Index)
	room := max(e.Size-len(body), 0)
	filled := strings.Repeat(prompt, room/len(prompt)+1)[:room]
	return fmt.Appendf(nil, form, e.Type(), e.JobID(), strings.TrimPrefix(e.Type(), "video."), more, filled, e.Index)
}

// Signed returns the headers that the body is sent with.
func Signed(secret string, body []byte) http.Header {
	header := source.SignSeed(secret, body)
	header.Set("Content-Type", "application/json")
	return header
}

// Requests is a file of signed requests, whole as they go over the wire and all of
// the same length.
type Requests struct {
	Path string
	// Count is how many there are, Length the bytes of one, BodySize those of its
	// body.
	Count, Length, BodySize int
	file                    *os.File
}

// Write makes a file of count requests with bodies of the given size.
func Write(path, secret string, bodySize, count int) (_ *Requests, err error) {
	file, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	out := bufio.NewWriterSize(file, 1<<20)
	r := &Requests{Path: path, Count: count, BodySize: max(bodySize, minBody)}
	for i := range count {
		body := Event{Index: i, Size: r.BodySize}.Body()
		head := fmt.Appendf(nil, "POST %s HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: %d\r\nX-Kling-Signature: %s\r\n\r\n",
			Path, len(body), Signed(secret, body).Get("X-Kling-Signature"))
		if r.Length == 0 {
			r.Length = len(head) + len(body)
		}
		if len(head)+len(body) != r.Length {
			return nil, fmt.Errorf("request %d has %d bytes and the first %d", i, len(head)+len(body), r.Length)
		}
		for _, part := range [][]byte{head, body} {
			if _, err := out.Write(part); err != nil {
				return nil, err
			}
		}
	}
	return r, out.Flush()
}

// Open makes the file readable by Request. The caller closes it.
func (r *Requests) Open() (err error) {
	r.file, err = os.Open(r.Path)
	return err
}

// Close closes the file.
func (r *Requests) Close() error { return r.file.Close() }

// Request returns the headers and the body of the i-th request; beyond the last
// they begin again.
func (r *Requests) Request(i int) (http.Header, []byte, error) {
	raw := make([]byte, r.Length)
	if err := r.raw(i, raw); err != nil {
		return nil, nil, err
	}
	head, body, _ := bytes.Cut(raw, []byte("\r\n\r\n"))
	_, signature, _ := strings.Cut(string(head), "X-Kling-Signature: ")
	return http.Header{"Content-Type": {"application/json"}, "X-Kling-Signature": {signature}}, body, nil
}

// raw reads the i-th request as it goes over the wire into b, which is of its length.
func (r *Requests) raw(i int, b []byte) error {
	if _, err := r.file.ReadAt(b, int64(i%r.Count)*int64(r.Length)); err != nil {
		return fmt.Errorf("read request %d: %w", i, err)
	}
	return nil
}

// Span is a part of a file of requests.
type Span struct {
	*Requests
	From, N int
}

// Split cuts the requests in two, so that what warms up does not send what is
// measured: the first sixth, and the rest.
func (r *Requests) Split() (warm, measured Span) {
	cut := r.Count / 6
	return Span{r, 0, cut}, Span{r, cut, r.Count - cut}
}

// requestTimeout is how long an answer is waited for.
const requestTimeout = 30 * time.Second
