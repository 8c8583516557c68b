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
	"net/http/cookiejar"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/klinghook/klinghook/tasks"
)

// errUnmarkedEnd reports that a body ended with its connection, and may be incomplete.
var errUnmarkedEnd = errors.New("the connection ended without marking the end of the file")

// droppedError ends an exchange but not the attempt: the rest is requested again.
type droppedError struct{ error }

func (e *droppedError) Unwrap() error { return e.error }

const (
	// bufferSize limits one read from a response, in bytes.
	bufferSize = 64 << 10
	// The wait before a resume doubles after each resume without new bytes.
	minResumeWait = 100 * time.Millisecond
	maxResumeWait = 5 * time.Second
)

// download is one attempt at one file, in one or more exchanges. One goroutine uses it.
type download struct {
	Request
	fetcher *Fetcher
	link    *url.URL
	jar     http.CookieJar
	pace    *pace // of the last exchange
	// restarted is set once bytes were dropped.
	restarted bool

	// The properties of the file, known from the first response since a restart.
	total       int64 // in bytes; -1 if unknown
	validator   validator
	declared    string // Content-Type as declared
	contentType string // as decided by its first bytes
	sums        []checksum

	// The part received so far.
	received int64
	digest   hash.Hash
	head     []byte  // until sniffLen bytes are received
	up       *upload // nil until head was checked
	buf      []byte

	// unmarked is the digest of the file at the last errUnmarkedEnd. A restart keeps it.
	unmarked []byte
}

// run downloads the file.
func (d *download) run(ctx context.Context) (*File, error) {
	d.buf = make([]byte, bufferSize)
	d.jar, _ = cookiejar.New(nil) // never fails
	d.restart()
	defer d.restart() // drops an upload that is not finished
	var furthest int64
	for fruitless := -1; ; { // -1: the first exchange is not a resume
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
	d.restarted = d.restarted || d.received > 0
	d.up, d.head, d.received, d.total = nil, nil, 0, -1
	d.digest, d.validator, d.sums = sha256.New(), validator{}, nil
}

// content describes the body of one response.
type content struct {
	length int64 // in bytes; -1 if unknown
	part   bool  // it may end before the file does
	known  int64 // how many of its first bytes were received before
	sums   []checksum
}

// exchange requests the missing bytes and receives them. It returns nil when the file
// is complete.
func (d *download) exchange(ctx context.Context) error {
	if d.received > 0 && d.validator.ifRange() == "" {
		d.restart() // the rest could be from another version
	}
	reqCtx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	d.pace = newPace(d.fetcher.cfg, cancel)
	d.pace.wait()
	resp, err := d.fetcher.get(reqCtx, d.link, d.requestHeader(), d.jar, d.pace.arrived)
	d.pace.done()
	if err != nil {
		if d.received > 0 && !errors.Is(err, ErrForbiddenAddress) {
			return &droppedError{err}
		}
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode == http.StatusRequestedRangeNotSatisfiable && d.received > 0 {
		return d.atEnd(resp)
	}
	body, err := d.accept(resp)
	if err != nil {
		return err
	}
	if err := d.receive(ctx, resp.Body, body); err != nil {
		if cause := context.Cause(reqCtx); cause != nil && errors.Is(cause, errStalled) {
			return &droppedError{cause}
		}
		return err
	}
	switch {
	case d.total >= 0 && d.received < d.total:
		return &droppedError{fmt.Errorf("the server sent %d of %d bytes", d.received, d.total)}
	case d.total < 0 && body.part:
		return &droppedError{errors.New("the server sent a part of the file, but not how long the file is")}
	case body.length < 0 && len(resp.TransferEncoding) == 0:
		return d.confirmEnd()
	}
	return nil
}

// confirmEnd accepts an unmarked end if an earlier body ended at the same byte. If the
// server supports ranges, the next request asks for more, and a 416 confirms the end.
func (d *download) confirmEnd() error {
	sum := d.digest.Sum(nil)
	if bytes.Equal(sum, d.unmarked) {
		return nil
	}
	d.unmarked = sum
	return &droppedError{errUnmarkedEnd}
}

func (d *download) requestHeader() http.Header {
	header := http.Header{
		"User-Agent":      {d.fetcher.cfg.UserAgent},
		"Accept":          {"*/*"},
		"Accept-Encoding": {"identity"},
	}
	if d.received > 0 {
		header.Set("Range", "bytes="+strconv.FormatInt(d.received, 10)+"-")
		header.Set("If-Range", d.validator.ifRange())
	}
	return header
}

// accept checks a response and describes its body.
func (d *download) accept(resp *http.Response) (content, error) {
	header := resp.Header
	ok := resp.StatusCode == http.StatusOK || resp.StatusCode == http.StatusPartialContent
	switch coding := codingOf(header); {
	case !ok:
		err := statusFailure(resp, time.Now())
		if d.received > 0 && resp.StatusCode >= 500 && tasks.RetryAfterOf(err) == 0 {
			// A server that has just dropped a connection may be restarting.
			err = &droppedError{err}
		}
		return content{}, err
	case coding != "":
		return content{}, fmt.Errorf("the body is encoded as %q, which was not requested", coding)
	case strings.HasPrefix(mediaType(header.Get("Content-Type")), "multipart/"):
		return content{}, errors.New("the server sent several parts of the file")
	case resp.StatusCode == http.StatusPartialContent, header["Content-Range"] != nil: // also with a 200
		return d.acceptPart(resp)
	}
	// This also answers a Range if the file has changed or the server supports no ranges.
	if d.validator.isOf(header) && d.total >= 0 && resp.ContentLength >= 0 && resp.ContentLength != d.total {
		return content{}, fmt.Errorf("the file was %d bytes long and is now %d", d.total, resp.ContentLength)
	}
	d.restart()
	d.describe(header, true)
	d.total = resp.ContentLength
	return content{length: d.total}, d.checkSize(max(d.total, 0))
}

// acceptPart checks that a part of the file, or all of it as a range, continues the
// bytes received. It may start earlier.
func (d *download) acceptPart(resp *http.Response) (content, error) {
	header := resp.Header
	first, last, total, err := parseContentRange(strings.Join(header["Content-Range"], ", "))
	if err != nil {
		return content{}, err
	}
	changed := d.received > 0 && !d.validator.isOf(header)
	if changed {
		d.restart()
	}
	body := content{length: last - first + 1, part: true, known: d.received - first}
	switch {
	case changed && first > 0:
		return content{}, &droppedError{errors.New("the file changed on the server")}
	case first > d.received:
		return content{}, fmt.Errorf("the server continued at byte %d instead of %d", first, d.received)
	case d.total >= 0 && total >= 0 && total != d.total:
		return content{}, fmt.Errorf("the file was %d bytes long and is now %d", d.total, total)
	case d.total >= 0 && last >= d.total:
		return content{}, fmt.Errorf("the server announced bytes up to %d of a file of %d", last, d.total)
	case resp.ContentLength >= 0 && resp.ContentLength != body.length:
		return content{}, fmt.Errorf("the server announced %d bytes and a range of %d", resp.ContentLength, body.length)
	}
	if d.received == 0 {
		d.describe(header, last+1 == total)
	}
	d.total = max(d.total, total)
	body.sums = checksumsOf(header, bodySums)
	return body, d.checkSize(max(d.total, last+1))
}

// describe keeps a header's description of the file. whole reports that the response has
// the whole file, not only its first part.
func (d *download) describe(header http.Header, whole bool) {
	d.validator, d.declared = validatorOf(header), header.Get("Content-Type")
	d.sums = checksumsOf(header, fileSums)
	if whole {
		d.sums = append(d.sums, checksumsOf(header, bodySums)...)
	}
}

// atEnd handles a 416: nothing follows the bytes received. Either the file is complete
// and its length was unknown until now, or the file changed.
func (d *download) atEnd(resp *http.Response) error {
	ended := strings.EqualFold(resp.Header.Get("Content-Range"), "bytes */"+strconv.FormatInt(d.received, 10))
	other := validatorOf(resp.Header).ifRange()
	if ended && d.total < 0 && (other == "" || d.validator.isOf(resp.Header)) {
		d.total = d.received
		return nil
	}
	d.restart()
	return &droppedError{&StatusError{Host: resp.Request.URL.Host, Status: resp.StatusCode}}
}

// receive reads a body.
func (d *download) receive(ctx context.Context, r io.Reader, body content) error {
	for got := int64(0); ; {
		d.pace.wait()
		n, err := r.Read(d.buf)
		slow := d.pace.read(n)
		p := d.buf[:n]
		if body.length >= 0 && got+int64(n) > body.length {
			return fmt.Errorf("the server announced %d bytes and sent more", body.length)
		}
		for _, sum := range body.sums {
			sum.Write(p)
		}
		p = p[min(max(body.known-got, 0), int64(n)):]
		got += int64(n)
		if err := d.add(ctx, p); err != nil {
			return err
		}
		switch {
		case err == io.EOF && got < body.length:
			return &droppedError{io.ErrUnexpectedEOF}
		case err == io.EOF:
			// Some servers repeat the checksum of the whole file with a part of it.
			return checkSums(body.sums, d.sums)
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
	for _, sum := range d.sums {
		sum.Write(p)
	}
	if d.up != nil {
		return d.up.write(p)
	}
	d.head = append(d.head, p...)
	if len(d.head) < sniffLen {
		return nil
	}
	return d.open(ctx)
}

// open detects the file's type by its first bytes and starts the object.
func (d *download) open(ctx context.Context) error {
	var err error
	if d.contentType, err = contentType(d.Kind, d.head, d.declared, d.restarted); err != nil {
		return err
	}
	if d.up, err = d.Bucket.upload(ctx, d.object(), d.contentType); err != nil {
		return err
	}
	head := d.head
	d.head = nil
	return d.up.write(head)
}

// object returns the object's name, once contentType is known.
func (d *download) object() string { return d.Object + extension(d.Kind, d.contentType) }

// finish returns the complete file, not yet published.
func (d *download) finish(ctx context.Context) (*File, error) {
	if d.received == 0 {
		return nil, errors.New("the file is empty")
	}
	if err := checkSums(d.sums, nil); err != nil {
		return nil, err
	}
	if d.up == nil {
		if err := d.open(ctx); err != nil {
			return nil, err
		}
	}
	sum := hex.EncodeToString(d.digest.Sum(nil))
	file := &File{Object: d.object(), Size: d.received, SHA256: sum, ContentType: d.contentType, up: d.up}
	d.up = nil
	return file, nil
}

// checkSize returns an error if a file of at least size bytes is too large.
func (d *download) checkSize(size int64) error {
	if limit := d.fetcher.maxSize(d.Kind); size > limit {
		return tasks.Permanent(fmt.Errorf("the file is larger than the limit of %d bytes", limit))
	}
	return nil
}
