package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
)

// exported is a span as a collector gets it.
type exported struct {
	TraceID, SpanID, ParentSpanID, Name string
	Status                              struct{ Code int }
}

// collector keeps what is exported to it.
type collector struct {
	mu    sync.Mutex // guards what follows
	spans []exported
	raw   strings.Builder
}

// ServeHTTP takes a batch of spans.
func (c *collector) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	var batch struct {
		ResourceSpans []struct {
			ScopeSpans []struct{ Spans []exported }
		}
	}
	body, _ := io.ReadAll(r.Body)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.raw.Write(body)
	if json.Unmarshal(body, &batch) != nil {
		return
	}
	for _, resource := range batch.ResourceSpans {
		for _, scope := range resource.ScopeSpans {
			c.spans = append(c.spans, scope.Spans...)
		}
	}
}

// paths returns each span with those above it, "root/…/span", and a mark for one
// that failed; only of spans of one trace.
func (c *collector) paths() (paths []string, traces int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	byID, ids := map[string]exported{}, map[string]bool{}
	for _, s := range c.spans {
		byID[s.SpanID], ids[s.TraceID] = s, true
	}
	for _, s := range c.spans {
		path := s.Name
		for parent, ok := byID[s.ParentSpanID]; ok; parent, ok = byID[parent.ParentSpanID] {
			path = parent.Name + "/" + path
		}
		if s.Status.Code == 2 {
			path += " failed"
		}
		paths = append(paths, path)
	}
	slices.Sort(paths)
	return paths, len(ids)
}

// TestOneTrace holds that all that is done about an event is one trace, through the
// queue and a failed attempt, and that no secret is in it.
func TestOneTrace(t *testing.T) {
	c := &collector{}
	server := httptest.NewServer(c)
	t.Cleanup(server.Close)
	w := newWorld(t)
	var once sync.Once
	settings, _, cdn := plant(t, w, func(rw http.ResponseWriter, r *http.Request) {
		failed := false
		once.Do(func() { rw.WriteHeader(http.StatusServiceUnavailable); failed = true })
		if !failed {
			_, _ = rw.Write(file(r.URL.Path))
		}
	})
	settings["OTEL_EXPORTER_OTLP_ENDPOINT"] = server.URL
	settings["OTEL_BSP_SCHEDULE_DELAY"] = "100"
	ingest := start(t, "klinghook-ingest", settings)
	start(t, "klinghook", settings, "worker")
	base := "http://" + ingest.Address("webhooks")
	delivery := w.completedFrom("vid_1", cdn+"/vid_1.mp4?Signature=hush")
	w.post(base, delivery)
	forged := delivery
	forged.header = map[string]string{"X-Kling-Signature": "sha256=00", "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}
	w.post(base, forged)

	const record = "delivery klingai/event:record"
	want := []string{
		"delivery klingai", record,
		record + "/media:download", record + "/media:download failed",
		record + "/media:download/download file", record + "/media:download/download file failed",
		record + "/media:download/download file/store file",
		record + "/notify:send", record + "/notify:send/send message",
		record + "/store event",
	}
	eventually(t, "the trace", func() (bool, string) {
		paths, traces := c.paths()
		return slices.Equal(paths, want) && traces == 1, fmt.Sprintf("%d traces:\n%s", traces, strings.Join(paths, "\n"))
	})
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, hidden := range []string{"hush", signingSecret, forwardKey, delivery.header["X-Kling-Signature"], "a cat"} {
		if strings.Contains(c.raw.String(), hidden) {
			t.Errorf("%q is in what was exported:\n%s", hidden, c.raw.String())
		}
	}
}
