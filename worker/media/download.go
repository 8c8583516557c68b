package media

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/klinghook/klinghook/tasks"
)

// errUnmarkedEnd reports that a body ended with its connection, which may be a cut.
var errUnmarkedEnd = errors.New("the connection ended, and nothing marked that as the end of the file")

// droppedError ends an exchange but not the attempt: the rest is requested again.
type droppedError struct{ error }

func (e *droppedError) Unwrap() error { return e.error }

const (
	// bufferSize is the most that one read takes from a response.
	bufferSize = 64 << 10
	// The wait before a resume doubles with each that brought nothing.
	minResumeWait = 100 * time.Millisecond
	maxResumeWait = 5 * time.Second
)

// download is one attempt at one file, in one or more exchanges. One goroutine uses it.
type download struct {
	Request
	fetcher *Fetcher
	link    *url.URL
	pace    *pace // of the last exchange

	// What is known about the file since it was last started.
	total       int64 // in bytes; -1 if unknown
	validator   validator
	declared    string // Content-Type as declared
	contentType string // as decided by its first bytes

	// What was received of it.
	received int64
	digest   hash.Hash
	head     []byte  // until sniffLen bytes are here
	up       *upload // nil until head was checked
	buf      []byte

	// unmarked is the digest of the file when a body last ended without a mark; it
	// survives a restart.
	unmarked []byte
}

// run downloads the file.
func (d *download) run(ctx context.Context) (*File, error) {
	d.buf = make([]byte, bufferSize)
	d.restart()
	defer d.restart() // drops an upload that is not finished
	var furthest int64
	for fruitless := -1; ; { // the first exchange is no resume
		err := d.exchange(ctx)
		if err == nil {
			return d.finish(ctx)
		}
		if ctx.Err() != nil {
			return nil, fmt.Errorf("stopped after %d bytes: %w", d.received, context.Cause(ctx))
		}
		var dropped *droppedError
		if !errors.As(err, &dropped) {
			return nil, err
		}
		fruitless++
		if d.pace.worthwhile(d.received - furthest) {
			fruitless = 0
		}
		furthest = max(furthest, d.received)
		if fruitless >= max(d.fetcher.cfg.MaxResumes, 0) {
			return nil, fmt.Errorf("given up after %d bytes: %w", furthest, err)
		}
		select {
		case <-time.After(min(minResumeWait<<min(fruitless, 10), maxResumeWait)):
		case <-ctx.Done(): // the next exchange reports it
		}
	}
}

// restart drops everything that was received.
func (d *download) restart() {
	if d.up != nil {
		d.up.abort()
	}
	d.up, d.head, d.received, d.total = nil, nil, 0, -1
	d.digest, d.validator = sha256.New(), validator{}
}

// exchange requests what is missing and receives it. It returns nil when the file is
// complete.
func (d *download) exchange(ctx context.Context) error {
	if d.received > 0 && d.validator.ifRange() == "" {
		d.restart() // the rest could be of another file
	}
	reqCtx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	d.pace = newPace(d.fetcher.cfg, cancel)
	d.pace.wait()
	resp, err := d.fetcher.get(reqCtx, d.link, d.requestHeader(), d.pace.arrived)
	d.pace.done()
	if err != nil {
		if d.received > 0 && !errors.Is(err, ErrForbiddenAddress) {
			return &droppedError{err}
		}
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode == http.StatusRequestedRangeNotSatisfiable && d.received > 0 {
		return d.beyondEnd(resp)
	}
	length, err := d.begin(resp)
	if err != nil {
		return err
	}
	if err := d.receive(ctx, resp.Body, length); err != nil {
		if cause := context.Cause(reqCtx); cause != nil && errors.Is(cause, errStalled) {
			return &droppedError{cause}
		}
		return err
	}
	if d.total >= 0 && d.received < d.total {
		return &droppedError{fmt.Errorf("the server sent %d of %d bytes", d.received, d.total)}
	}
	if length < 0 && len(resp.TransferEncoding) == 0 {
		return d.confirmEnd()
	}
	return nil
}

// confirmEnd accepts an unmarked end if a body ended there before. From a server that
// knows ranges, the next request asks for more instead, and a 416 confirms the end.
func (d *download) confirmEnd() error {
	sum := d.digest.Sum(nil)
	if bytes.Equal(sum, d.unmarked) {
		return nil
	}
	d.unmarked = sum
	return &droppedError{errUnmarkedEnd}
}

func (d *download) requestHeader() http.Header {
	h := http.Header{
		"User-Agent":      {d.fetcher.cfg.UserAgent},
		"Accept":          {"*/*"},
		"Accept-Encoding": {"identity"},
	}
	if d.received > 0 {
		h.Set("Range", "bytes="+strconv.FormatInt(d.received, 10)+"-")
		h.Set("If-Range", d.validator.ifRange())
	}
	return h
}

// begin checks a response and returns the length of its body, -1 if unknown.
func (d *download) begin(resp *http.Response) (length int64, err error) {
	encoding := resp.Header.Get("Content-Encoding")
	resuming := d.received > 0
	switch {
	case resp.StatusCode < 300 && encoding != "" && !strings.EqualFold(encoding, "identity"):
		return 0, fmt.Errorf("the body is encoded as %.80q, which was not requested", encoding)
	case resp.StatusCode == http.StatusOK:
		// Also the answer to a Range if the file has changed or the server knows none.
		d.restart()
		d.total = resp.ContentLength
		d.validator = validatorOf(resp.Header)
		d.declared = resp.Header.Get("Content-Type")
		return d.total, d.checkSize(max(d.total, 0))
	case resp.StatusCode == http.StatusPartialContent && resuming:
		return d.resume(resp)
	}
	err = statusFailure(resp, time.Now())
	if resuming && resp.StatusCode >= 500 && tasks.RetryAfterOf(err) == 0 {
		// A server that has just dropped a connection may be restarting.
		return 0, &droppedError{err}
	}
	return 0, err
}

// resume checks that a 206 continues what was received.
func (d *download) resume(resp *http.Response) (length int64, err error) {
	if d.validator.contradicts(resp.Header) {
		d.restart()
		return 0, &droppedError{errors.New("the file changed on the server")}
	}
	first, last, total, err := parseContentRange(resp.Header.Get("Content-Range"))
	if err != nil {
		return 0, err
	}
	length = last - first + 1
	switch {
	case first != d.received:
		return 0, fmt.Errorf("the server continued at byte %d instead of %d", first, d.received)
	case d.total >= 0 && total >= 0 && total != d.total:
		return 0, fmt.Errorf("the file was %d bytes long and is now %d", d.total, total)
	case d.total >= 0 && last >= d.total:
		return 0, fmt.Errorf("the server announced bytes up to %d of a file of %d", last, d.total)
	case resp.ContentLength >= 0 && resp.ContentLength != length:
		return 0, fmt.Errorf("the server announced %d bytes and a range of %d", resp.ContentLength, length)
	}
	d.total = max(d.total, total)
	return length, d.checkSize(max(d.total, last+1))
}

// beyondEnd handles a 416, nothing follows what was received: either that is the whole
// file, whose length was unknown until now, or the file changed.
func (d *download) beyondEnd(resp *http.Response) error {
	total, ok := strings.CutPrefix(resp.Header.Get("Content-Range"), "bytes */")
	if ok && total == strconv.FormatInt(d.received, 10) && d.total < 0 && !d.validator.contradicts(resp.Header) {
		d.total = d.received
		return nil
	}
	d.restart()
	return &droppedError{&StatusError{Host: resp.Request.URL.Host, Status: resp.StatusCode}}
}

// receive reads a body of the given length, -1 if unknown.
func (d *download) receive(ctx context.Context, body io.Reader, length int64) error {
	for got := int64(0); ; {
		d.pace.wait()
		n, err := body.Read(d.buf)
		slow := d.pace.read(n)
		got += int64(n)
		if length >= 0 && got > length {
			return fmt.Errorf("the server announced %d bytes and sent more", length)
		}
		if err := d.add(ctx, d.buf[:n]); err != nil {
			return err
		}
		switch {
		case err == io.EOF && got < length:
			return &droppedError{io.ErrUnexpectedEOF}
		case err == io.EOF:
			return nil
		case err != nil:
			return &droppedError{err}
		case slow != nil:
			return &droppedError{slow}
		}
	}
}

// add adds bytes to the file.
func (d *download) add(ctx context.Context, p []byte) error {
	if err := d.checkSize(d.received + int64(len(p))); err != nil {
		return err
	}
	d.received += int64(len(p))
	d.fetcher.received.Add(float64(len(p)))
	if d.Progress != nil && len(p) > 0 {
		d.Progress(d.received, d.total)
	}
	d.digest.Write(p)
	if d.up != nil {
		return d.up.write(p)
	}
	d.head = append(d.head, p...)
	if len(d.head) < sniffLen {
		return nil
	}
	return d.open(ctx)
}

// open decides by the first bytes what the file is and starts its object.
func (d *download) open(ctx context.Context) error {
	var err error
	if d.contentType, err = d.Kind.contentType(d.head, d.declared); err != nil {
		return err
	}
	if d.up, err = d.Bucket.upload(ctx, d.Object, d.contentType); err != nil {
		return err
	}
	head := d.head
	d.head = nil
	return d.up.write(head)
}

// finish returns the complete file, not yet published.
func (d *download) finish(ctx context.Context) (*File, error) {
	if d.received == 0 {
		return nil, errors.New("the file is empty")
	}
	if d.up == nil {
		if err := d.open(ctx); err != nil {
			return nil, err
		}
	}
	sum := hex.EncodeToString(d.digest.Sum(nil))
	file := &File{Object: d.Object, Size: d.received, SHA256: sum, ContentType: d.contentType, up: d.up}
	d.up = nil
	return file, nil
}

// checkSize returns an error for a file of this many bytes or more that is too large.
func (d *download) checkSize(size int64) error {
	if limit := d.fetcher.cfg.MaxSize; size > limit {
		return tasks.Permanent(fmt.Errorf("the file is larger than the limit of %d bytes", limit))
	}
	return nil
}
