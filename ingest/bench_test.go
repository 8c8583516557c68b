package ingest_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/klinghook/klinghook/ingest"
	"github.com/klinghook/klinghook/tasks"
)

// queueFunc takes tasks.
type queueFunc func(context.Context, tasks.Task) (bool, error)

func (f queueFunc) Enqueue(ctx context.Context, t tasks.Task) (bool, error) { return f(ctx, t) }

// discarded is a response that nobody reads.
type discarded struct {
	header http.Header
	status int
}

func (d *discarded) Header() http.Header         { return d.header }
func (d *discarded) Write(b []byte) (int, error) { return len(b), nil }
func (d *discarded) WriteHeader(status int)      { d.status = status }

// BenchmarkDelivery is what a delivery costs ingest besides HTTP and the queue: read,
// verified, identified, encoded, logged and counted.
func BenchmarkDelivery(b *testing.B) {
	for _, size := range []int{550, 4 << 10, 64 << 10} {
		b.Run(fmt.Sprintf("body=%d", size), func(b *testing.B) {
			const before, after = `{"event":"video.completed","timestamp":"2025-01-15T10:30:00Z","data":{"job_id":"vid_1","video_url":"https://cdn.example.com/vid_1.mp4?sig=0123456789abcdef","prompt":"`, `"}}`
			body := before + strings.Repeat("A cat in a red hat. ", size/20)[:size-len(before)-len(after)] + after
			server := newBenchServer(b)
			r := post(body, "sha256="+sign(secret, body))
			w := &discarded{header: http.Header{}}
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				r.Body = io.NopCloser(strings.NewReader(body))
				server.ServeHTTP(w, r)
				if w.status != http.StatusOK {
					b.Fatal(w.status)
				}
			}
		})
	}
}

func newBenchServer(b *testing.B) *ingest.Server {
	b.Helper()
	endpoints, _, err := ingest.Endpoints(func(setting string) []string {
		return map[string][]string{"KLINGAI_WEBHOOK_SECRET": {secret}}[setting]
	})
	if err != nil {
		b.Fatal(err)
	}
	// As internal/process makes it, less the file.
	log := zap.New(zapcore.NewCore(zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig()), zapcore.AddSync(io.Discard), zap.InfoLevel))
	none := func(http.ResponseWriter, *http.Request) {}
	return ingest.New(ingest.Config{
		Endpoints: endpoints, Queue: queueFunc(func(context.Context, tasks.Task) (bool, error) { return false, nil }),
		Live: none, Ready: none, Log: log, Metrics: prometheus.NewRegistry(),
	})
}
