package e2e

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
)

// exported is an exported span.
type exported struct {
	traceID, spanID, parentSpanID, name string
	failed                              bool
}

// collector records exported spans.
type collector struct {
	mu    sync.Mutex // guards what follows
	spans []exported
	raw   strings.Builder
}

// ServeHTTP receives a batch of spans, an ExportTraceServiceRequest in protobuf.
func (c *collector) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.raw.Write(body)
	for _, resource := range protoFields(body)[1] {
		for _, scope := range protoFields(resource)[2] {
			for _, span := range protoFields(scope)[2] {
				fields := protoFields(span)
				text := func(field uint64) string { return string(slices.Concat(fields[field]...)) }
				failed := bytes.HasSuffix(slices.Concat(fields[15]...), []byte{3 << 3, 2}) // status.code is ERROR
				c.spans = append(c.spans, exported{traceID: text(1), spanID: text(2), parentSpanID: text(4), name: text(5), failed: failed})
			}
		}
	}
}

// protoFields returns the length-delimited fields of a protobuf message by number.
func protoFields(message []byte) map[uint64][][]byte {
	fields := map[uint64][][]byte{}
	for len(message) > 0 {
		key, n := binary.Uvarint(message)
		message = message[n:]
		size := uint64(0)
		switch key & 7 {
		case 0: // varint
			_, n := binary.Uvarint(message)
			size = uint64(n)
		case 1: // 64 bits
			size = 8
		case 5: // 32 bits
			size = 4
		case 2:
			size, n = binary.Uvarint(message)
			message = message[n:]
			fields[key>>3] = append(fields[key>>3], message[:size])
		}
		message = message[size:]
	}
	return fields
}

// paths returns each span with its parents, "root/…/span", and " failed" if it did;
// and how many traces there are.
func (c *collector) paths() (paths []string, traces int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	byID, ids := map[string]exported{}, map[string]bool{}
	for _, s := range c.spans {
		byID[s.spanID], ids[s.traceID] = s, true
	}
	for _, s := range c.spans {
		path := s.name
		for parent, ok := byID[s.parentSpanID]; ok; parent, ok = byID[parent.parentSpanID] {
			path = parent.name + "/" + path
		}
		if s.failed {
			path += " failed"
		}
		paths = append(paths, path)
	}
	slices.Sort(paths)
	return paths, len(ids)
}

// TestEventIsOneTrace checks that everything done for an event is one trace, through
// the queue and a failed attempt, without secrets.
func TestEventIsOneTrace(t *testing.T) {
	t.Parallel()
	c := &collector{}
	server := httptest.NewServer(c)
	t.Cleanup(server.Close)
	w := newFleet(t, "")
	w.media.trouble = func(string) int { return 6 }
	w.settings["OTEL_EXPORTER_OTLP_ENDPOINT"] = server.URL
	w.settings["OTEL_BSP_SCHEDULE_DELAY"] = "100"
	base, _, _ := w.startAll()
	delivery := completedWith("vid_1", w.media.link("vid_1.mp4"))
	w.accept(base, delivery)
	if _, _, err := delivery.post(t.Context(), http.DefaultClient, base, " forged"); err != nil {
		t.Fatal(err)
	}

	const record = "delivery klingai/event:record"
	want := []string{
		"delivery klingai", record,
		record + "/media:download", record + "/media:download failed",
		record + "/media:download/download file", record + "/media:download/download file failed",
		record + "/media:download/download file/store file",
		record + "/notify:send", record + "/notify:send/send message",
		record + "/store event",
	}
	w.await("the trace", func() (bool, string) {
		paths, traces := c.paths()
		return slices.Equal(paths, want) && traces == 1, fmt.Sprintf("%d traces:\n%s", traces, strings.Join(paths, "\n"))
	})
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, secret := range []string{"hush", seedSecret, forwardKey, delivery.header("").Get("X-Kling-Signature"), "a cat"} {
		if strings.Contains(c.raw.String(), secret) {
			t.Errorf("%q was exported:\n%s", secret, c.raw.String())
		}
	}
}
