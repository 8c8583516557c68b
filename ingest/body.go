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
	// bodyMemory limits the memory of all requests with a body, in bytes. Each request
	// counts its body plus requestMemory.
	bodyMemory, requestMemory = 20 << 20, 32 << 10
	// largeWork limits the bodies above smallBody that are being enqueued, in bytes. Until
	// Redis has a body, it takes several times its length in memory.
	largeWork = 16 << 20
	// droppedBody limits how much of a refused body is still read, in bytes.
	droppedBody = 8 << 20
)

// bodies reads request bodies in bounded memory. When that runs out, it aborts the request
// whose body has been arriving longest: an honest sender sends everything at once.
type bodies struct {
	max, memory int64         // the limits for one body and for all, in bytes
	enqueuing   chan struct{} // a semaphore for verified bodies above smallBody

	mu       sync.Mutex // guards the fields below and those of each arrival
	used     int64
	arriving *list.List // of *arrival, the oldest first
}

// arrival is a request with a body.
type arrival struct {
	used  int64
	place *list.Element // nil after the whole body has arrived or the request was aborted
	stop  func()
}

func newBodies(maxBody int64) *bodies {
	return &bodies{
		max: maxBody, memory: max(bodyMemory, largeWork+2*maxBody),
		enqueuing: make(chan struct{}, max(1, largeWork/maxBody)), arriving: list.New(),
	}
}

// arrive registers a request whose body starts to arrive. Call left when it is done.
func (b *bodies) arrive(w http.ResponseWriter) *arrival {
	a := &arrival{stop: func() { _ = http.NewResponseController(w).SetReadDeadline(time.Unix(1, 0)) }}
	b.mu.Lock()
	a.place = b.arriving.PushBack(a)
	b.mu.Unlock()
	b.claim(a, requestMemory)
	return a
}

// claim counts more memory for a request, and aborts older requests if needed. It reports
// whether there is enough.
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

// arrived takes a request off the list of those that may be aborted.
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

// read returns the whole body, or refuses it if it is larger than limit. Call release when
// the body is no longer needed, refused or not.
func (b *bodies) read(w http.ResponseWriter, r *http.Request, limit int64) (body []byte, release func(), _ *refusal) {
	a := b.arrive(w)
	release = func() { b.left(a) }
	if isEncoded(r.Header) { // signatures cover the bytes before encoding
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
			return body, release, tooManyLarge(errors.New("all memory for bodies is in use"))
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

// isEncoded reports whether the body is encoded, such as with gzip.
func isEncoded(header http.Header) bool {
	for coding := range strings.SplitSeq(strings.Join(header.Values("Content-Encoding"), ","), ",") {
		if coding = strings.TrimSpace(coding); coding != "" && !strings.EqualFold(coding, "identity") {
			return true
		}
	}
	return false
}

// failed returns the refusal of a body that could not be read completely.
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

// work waits until a verified body may be enqueued, or refuses it. Always call done afterwards.
func (b *bodies) work(ctx context.Context, body []byte) (done func(), _ *refusal) {
	if len(body) <= smallBody {
		return func() {}, nil
	}
	select {
	case b.enqueuing <- struct{}{}:
		return func() { <-b.enqueuing }, nil
	case <-ctx.Done():
		return func() {}, tooManyLarge(fmt.Errorf("wait for other large bodies: %w", ctx.Err()))
	}
}

func tooManyLarge(err error) *refusal {
	return unavailable("too many large bodies at once", outcomeBusy, err)
}

// drop reads the rest of a refused body after the answer. Many senders write everything
// before they read, and closing a connection with unread bytes resets it and loses the
// answer. drop skips a body that is too long or whose sender waits for a 100 Continue.
func (b *bodies) drop(w http.ResponseWriter, r *http.Request) {
	a := b.arrive(w)
	defer b.left(a)
	if r.ContentLength <= droppedBody && r.Header.Get("Expect") == "" {
		_, _ = io.CopyN(io.Discard, r.Body, droppedBody) // the answer is already sent
	}
}
