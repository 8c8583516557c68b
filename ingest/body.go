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

	"golang.org/x/sync/semaphore"
)

const (
	// smallBody is the largest body that is always read, in bytes. Kling's are a
	// few KiB. It bounds what a connection costs whose sender has no secret.
	smallBody = 16 << 10
	// largeBodies is how much memory all larger bodies together may take, in bytes.
	largeBodies = 64 << 20
	// largeWork is how large those of them may be together that are on their way into the
	// queue, in bytes, where none counts as less than leastWork: until Redis has it, each
	// takes several times its length.
	largeWork, leastWork = 16 << 20, 256 << 10
	// droppedBody is how much of a refused body is still taken in, in bytes.
	droppedBody = 8 << 20
)

// bodies reads request bodies. However many senders there are, and however slow
// they are, what they make us keep is smallBody for each connection and
// largeBodies for all of them.
type bodies struct {
	// max is the largest body in bytes.
	max int64
	// large has a place for each body above smallBody that is in memory.
	large *semaphore.Weighted
	// work has room for those that are on their way into the queue. Only a verified one
	// gets there: a sender that has no secret cannot fill it.
	work *semaphore.Weighted
	// wait is how long such a body waits for a place, and then for room.
	wait time.Duration
}

func newBodies(maxBody int64, wait time.Duration) *bodies {
	return &bodies{
		max: maxBody, wait: wait,
		large: semaphore.NewWeighted(max(1, largeBodies/maxBody)), work: semaphore.NewWeighted(max(maxBody, largeWork)),
	}
}

// read returns the whole body, or refuses it: one that is over the limit is never
// cut, and one that ends early is never taken for whole. release is to be called
// once the body is done with, refused or not.
func (b *bodies) read(w http.ResponseWriter, r *http.Request) (body []byte, release func(), _ *refusal) {
	release = func() {}
	if refused := b.refuse(w, r); refused != nil {
		return nil, release, refused
	}
	if 0 <= r.ContentLength && r.ContentLength <= smallBody { // and within the limit, which refuse has looked at
		body = make([]byte, r.ContentLength)
		n, err := io.ReadFull(r.Body, body)
		return body[:n], release, b.broken(w, err)
	}
	limited := http.MaxBytesReader(w, r.Body, b.max)
	body, err := io.ReadAll(io.LimitReader(limited, smallBody))
	if err != nil || len(body) < smallBody {
		return body, release, b.broken(w, err)
	}
	if b.acquire(r.Context(), b.large, 1) != nil {
		// Unread, the rest would stand in the way of the connection's next request.
		w.Header().Set("Connection", "close")
		return nil, release, tooMany(errors.New("no place for another large body"))
	}
	body, err = readRest(limited, body, r.ContentLength)
	return body, func() { b.large.Release(1) }, b.broken(w, err)
}

// refuse refuses a body by what its headers say of it.
func (b *bodies) refuse(w http.ResponseWriter, r *http.Request) *refusal {
	if isEncoded(r.Header) {
		// A signature is over the bytes that are sent. Those that were packed on the
		// way have none, and what unpacks to more than it weighs is no event.
		w.Header().Set("Connection", "close")
		w.Header().Set("Accept-Encoding", "identity")
		return &refusal{http.StatusUnsupportedMediaType, "send the body as it was signed, without a Content-Encoding", outcomeEncoded, errors.New("the body is encoded")}
	}
	if r.ContentLength > b.max {
		w.Header().Set("Connection", "close")
		return b.tooLarge(errors.New("declared length over the limit"))
	}
	return nil
}

// isEncoded reports whether a body is said to be packed, by gzip or another coding.
func isEncoded(header http.Header) bool {
	for _, value := range header.Values("Content-Encoding") {
		for coding := range strings.SplitSeq(value, ",") {
			if coding = strings.TrimSpace(coding); coding != "" && !strings.EqualFold(coding, "identity") {
				return true
			}
		}
	}
	return false
}

// acquire waits for room, at most b.wait. It ignores ctx's end: a sender that has
// closed its side still waits for the answer.
func (b *bodies) acquire(ctx context.Context, room *semaphore.Weighted, n int64) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), b.wait)
	defer cancel()
	return room.Acquire(ctx, n)
}

// begin waits until a verified body may go on its way into the queue, or refuses it. end
// is to be called once it is there, or is not.
func (b *bodies) begin(ctx context.Context, body []byte) (end func(), _ *refusal) {
	if len(body) <= smallBody {
		return func() {}, nil
	}
	room := max(int64(len(body)), leastWork)
	if err := b.acquire(ctx, b.work, room); err != nil {
		return func() {}, tooMany(fmt.Errorf("no room to work on another large body: %w", err))
	}
	return func() { b.work.Release(room) }, nil
}

func tooMany(reason error) *refusal {
	return &refusal{http.StatusServiceUnavailable, "too many large bodies at once; send it again", outcomeBusy, reason}
}

// readRest reads what follows the head of a body of the given length, which is
// negative when it was not declared.
func readRest(from io.Reader, head []byte, length int64) ([]byte, error) {
	if length < 0 {
		body := bytes.NewBuffer(head)
		_, err := body.ReadFrom(from)
		return body.Bytes(), err
	}
	body := make([]byte, length)
	n := copy(body, head)
	more, err := io.ReadFull(from, body[n:])
	return body[:n+more], err
}

// broken words the error of a body that could not be read whole; nil for nil.
func (b *bodies) broken(w http.ResponseWriter, err error) *refusal {
	if err == nil {
		return nil
	}
	var limit *http.MaxBytesError
	switch {
	case errors.As(err, &limit):
		w.Header().Set("Connection", "close") // what follows is not looked at
		return b.tooLarge(err)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return &refusal{http.StatusRequestTimeout, "the body took too long", outcomeCut, err}
	}
	return &refusal{http.StatusBadRequest, "the body ended early", outcomeCut, err}
}

func (b *bodies) tooLarge(err error) *refusal {
	message := fmt.Sprintf("the body is larger than the %d bytes that this server takes", b.max)
	return &refusal{http.StatusRequestEntityTooLarge, message, outcomeTooLarge, err}
}

// drop takes in what is left of a refused body, after the answer. Many senders read
// no answer before they have written all, and a connection that is closed on bytes
// which nobody read is reset, with the answer lost. Who announces more than is worth
// it, or waits to be asked for the body, is not waited for.
func drop(r *http.Request) {
	if r.ContentLength > droppedBody || r.Header.Get("Expect") != "" {
		return
	}
	_, _ = io.CopyN(io.Discard, r.Body, droppedBody) // the answer was given, however it ends
}
