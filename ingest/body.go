package ingest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"
)

const (
	// smallBody is the largest body that is always read, in bytes. Kling's are a few KiB.
	smallBody = 16 << 10
	// largeBodies bounds the memory of all larger bodies together, in bytes.
	largeBodies = 32 << 20
	// largeWork bounds the larger bodies that are being enqueued, in bytes: until Redis
	// has one, it takes several times its length.
	largeWork = 16 << 20
	// droppedBody is how much of a refused body is still read, in bytes.
	droppedBody = 8 << 20
)

// bodies reads request bodies. However many and slow the senders are, it keeps at most
// smallBody per connection and largeBodies for all of them.
type bodies struct {
	max int64 // the largest body in bytes
	// reading and enqueuing have a place for each body above smallBody.
	reading, enqueuing chan struct{}
	// wait is how long a body waits for a place.
	wait time.Duration
}

func newBodies(maxBody int64, wait time.Duration) *bodies {
	return &bodies{
		max: maxBody, wait: wait,
		reading: make(chan struct{}, max(1, largeBodies/maxBody)), enqueuing: make(chan struct{}, max(1, largeWork/maxBody)),
	}
}

// enter waits for a place. Call leave to free it.
func enter(ctx context.Context, places chan struct{}) (leave func(), err error) {
	select {
	case places <- struct{}{}:
		return func() { <-places }, nil
	case <-ctx.Done():
		return func() {}, ctx.Err()
	}
}

// read returns the whole body, or refuses one above limit: it is never truncated. Call
// release when the body is no longer needed, refused or not.
func (b *bodies) read(w http.ResponseWriter, r *http.Request, limit int64) (body []byte, release func(), _ *refusal) {
	release = func() {}
	if isEncoded(r.Header) { // signatures are over the bytes before encoding
		w.Header().Set("Connection", "close")
		w.Header().Set("Accept-Encoding", "identity")
		return nil, release, &refusal{http.StatusUnsupportedMediaType, "send the body as it was signed, without a Content-Encoding", outcomeEncoded, errors.New("the body is encoded")}
	}
	if r.ContentLength > limit {
		return nil, release, failed(w, &http.MaxBytesError{Limit: limit})
	}
	limited := http.MaxBytesReader(w, r.Body, limit)
	var buffer bytes.Buffer
	_, err := io.CopyN(&buffer, limited, smallBody)
	if errors.Is(err, io.EOF) {
		return buffer.Bytes(), release, nil
	}
	if err == nil {
		// r's context ends early if the sender closes its side once it has sent the body.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), b.wait)
		defer cancel()
		if release, err = enter(ctx, b.reading); err != nil {
			w.Header().Set("Connection", "close")
			return nil, release, tooManyLarge(err)
		}
		buffer.Grow(int(max(r.ContentLength-smallBody, 0)) + bytes.MinRead)
		_, err = buffer.ReadFrom(limited)
	}
	if err != nil {
		return buffer.Bytes(), release, failed(w, err)
	}
	return buffer.Bytes(), release, nil
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
	done, err := enter(ctx, b.enqueuing)
	if err != nil {
		return done, tooManyLarge(err)
	}
	return done, nil
}

func tooManyLarge(err error) *refusal {
	return unavailable("too many large bodies at once", outcomeBusy, fmt.Errorf("wait for room for a large body: %w", err))
}

// drop reads the rest of a refused body after the answer. Many senders write all before
// they read, and closing a connection with unread bytes resets it, so that the answer is
// lost. It does not wait for a body that is too long or that waits for a 100 Continue.
func drop(r *http.Request) {
	if r.ContentLength <= droppedBody && r.Header.Get("Expect") == "" {
		_, _ = io.CopyN(io.Discard, r.Body, droppedBody) // the answer is sent, however it ends
	}
}
