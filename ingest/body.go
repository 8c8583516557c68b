package ingest

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"
)

const (
	// smallBody is the largest body that is always read, in bytes. Kling's are a few KiB.
	smallBody = 16 << 10
	// bodyMemory bounds the memory of all requests with a body, in bytes. Each counts its
	// body and requestMemory.
	bodyMemory, requestMemory = 20 << 20, 32 << 10
	// largeWork bounds the bodies above smallBody that are being enqueued, in bytes: until
	// Redis has one, it takes several times its length.
	largeWork = 16 << 20
	// droppedBody is how much of a refused body is still read, in bytes.
	droppedBody = 8 << 20
)

// bodies reads request bodies in bounded memory. When it runs out, the body that has been
// arriving for the longest time gives way: an honest sender sends all at once.
type bodies struct {
	max, memory int64 // the largest body and the limit of all, in bytes
	// enqueuing has a place for each body above smallBody that is verified.
	enqueuing chan struct{}

	mu       sync.Mutex // guards the fields below and those of each arrival
	used     int64
	arriving *list.List // of *arrival, the oldest first
}

// arrival is a request with a body.
type arrival struct {
	used  int64
	place *list.Element // nil when all has arrived, or it gave way
	stop  func()
}

func newBodies(maxBody int64) *bodies {
	return &bodies{
		max: maxBody, memory: max(bodyMemory, largeWork+2*maxBody),
		enqueuing: make(chan struct{}, max(1, largeWork/maxBody)), arriving: list.New(),
	}
}

// arrive counts a request whose body begins to arrive. Call left when it is answered.
func (b *bodies) arrive(w http.ResponseWriter) *arrival {
	a := &arrival{stop: func() { _ = http.NewResponseController(w).SetReadDeadline(time.Unix(1, 0)) }}
	b.mu.Lock()
	a.place = b.arriving.PushBack(a)
	b.mu.Unlock()
	b.claim(a, requestMemory)
	return a
}

// claim counts more memory for a request, for which others give way. It reports whether
// there is enough.
func (b *bodies) claim(a *arrival, more int64) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	a.used += more
	b.used += more
	for place := b.arriving.Front(); place != nil && b.used > b.memory; place = b.arriving.Front() {
		oldest, _ := place.Value.(*arrival)
		if oldest == a {
			break
		}
		b.arrived(oldest)
		b.used -= oldest.used
		oldest.used = 0
		oldest.stop()
	}
	return b.used <= b.memory
}

// arrived keeps a request from giving way.
func (b *bodies) arrived(a *arrival) {
	if a.place != nil {
		b.arriving.Remove(a.place)
		a.place = nil
	}
}

func (b *bodies) left(a *arrival) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.arrived(a)
	b.used -= a.used
}

// read returns the whole body, or refuses one above limit: it is never truncated. Call
// release when the body is no longer needed, refused or not.
func (b *bodies) read(w http.ResponseWriter, r *http.Request, limit int64) (body []byte, release func(), _ *refusal) {
	a := b.arrive(w)
	release = func() { b.left(a) }
	if isEncoded(r.Header) { // signatures are over the bytes before encoding
		w.Header().Set("Connection", "close")
		w.Header().Set("Accept-Encoding", "identity")
		return nil, release, &refusal{http.StatusUnsupportedMediaType, "send the body as it was signed, without a Content-Encoding", outcomeEncoded, errors.New("the body is encoded")}
	}
	if r.ContentLength > limit {
		return nil, release, failed(w, &http.MaxBytesError{Limit: limit})
	}
	limited := http.MaxBytesReader(w, r.Body, limit)
	for size := min(max(r.ContentLength, 512), smallBody) + 1; ; size = min(2*size, limit+1) {
		if !b.claim(a, size-int64(cap(body))) && len(body) > smallBody {
			w.Header().Set("Connection", "close")
			return body, release, tooManyLarge(errors.New("bodies occupy all memory for them"))
		}
		body = append(make([]byte, 0, size), body...)
		for len(body) < cap(body) {
			n, err := limited.Read(body[len(body):cap(body)])
			body = body[:len(body)+n]
			if errors.Is(err, io.EOF) {
				b.mu.Lock()
				b.arrived(a)
				b.mu.Unlock()
				return body, release, nil
			}
			if err != nil {
				return body, release, failed(w, err)
			}
		}
	}
}

// isEncoded reports whether the body has a coding such as gzip.
func isEncoded(header http.Header) bool {
	for coding := range strings.SplitSeq(strings.Join(header.Values("Content-Encoding"), ","), ",") {
		if coding = strings.TrimSpace(coding); coding != "" && !strings.EqualFold(coding, "identity") {
			return true
		}
	}
	return false
}

// failed returns the refusal of a body that could not be read whole.
func failed(w http.ResponseWriter, err error) *refusal {
	var limit *http.MaxBytesError
	switch {
	case errors.As(err, &limit):
		w.Header().Set("Connection", "close")
		return &refusal{http.StatusRequestEntityTooLarge, fmt.Sprintf("the body is larger than %d bytes", limit.Limit), outcomeTooLarge, err}
	case errors.Is(err, os.ErrDeadlineExceeded):
		return &refusal{http.StatusRequestTimeout, "the body took too long", outcomeCut, err}
	}
	return &refusal{http.StatusBadRequest, "the body ended early", outcomeCut, err}
}

// work waits until a verified body may be enqueued, or refuses it. Call done when it is,
// or is not.
func (b *bodies) work(ctx context.Context, body []byte) (done func(), _ *refusal) {
	if len(body) <= smallBody {
		return func() {}, nil
	}
	select {
	case b.enqueuing <- struct{}{}:
		return func() { <-b.enqueuing }, nil
	case <-ctx.Done():
		return func() {}, tooManyLarge(fmt.Errorf("wait for others to be enqueued: %w", ctx.Err()))
	}
}

func tooManyLarge(err error) *refusal {
	return unavailable("too many large bodies at once", outcomeBusy, err)
}

// drop reads the rest of a refused body after the answer. Many senders write all before
// they read, and closing a connection with unread bytes resets it, so that the answer is
// lost. It does not wait for a body that is too long or that waits for a 100 Continue.
func (b *bodies) drop(w http.ResponseWriter, r *http.Request) {
	a := b.arrive(w)
	defer b.left(a)
	if r.ContentLength <= droppedBody && r.Header.Get("Expect") == "" {
		_, _ = io.CopyN(io.Discard, r.Body, droppedBody) // the answer is sent, however it ends
	}
}
