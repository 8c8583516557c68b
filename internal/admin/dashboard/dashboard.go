package dashboard

import (
	"context"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"

	"github.com/klinghook/klinghook/internal/admin"
	"github.com/klinghook/klinghook/internal/admin/login"
	"github.com/klinghook/klinghook/internal/doctor"
	"github.com/klinghook/klinghook/internal/store"
	"github.com/klinghook/klinghook/tasks"
)

// Config configures the dashboard.
type Config struct {
	// Prefix is the base path, as in admin.Config. Default: none.
	Prefix string
	// Hosts are the accepted host names besides local ones.
	Hosts []string
	// LogoutPath is where a logout button posts to. If empty, there is no button.
	LogoutPath string

	// Redis contains the queues. The caller closes it. Required.
	Redis redis.UniversalClient
	// EventShards is the number of queues for events. Default: 1.
	EventShards int
	// Store, Bucket, Worker and Erase are required.
	Store  *store.Store
	Bucket Bucket
	Worker Repeater
	// Erase deletes a job with everything that belongs to it.
	Erase func(context.Context, tasks.JobKey) error
	// Backlog, if set, provides the history of the queues, for the health page.
	Backlog *Backlog
	// LookupAfter is how long an unfinished job may have no news before it is due for a
	// look-up. Default: 15 minutes.
	LookupAfter time.Duration
	// Checks are the checks of klinghook doctor, for the health page. Required.
	Checks func(context.Context) []doctor.Check
	// Sample, if set, creates a sample job, for the first steps.
	Sample func(context.Context) error
	// WebhookAddr is the host:port that receives webhooks, for the first steps.
	WebhookAddr string
	// LinkLifetime is how long signed links to stored files are valid. Default: files are
	// served by this process.
	LinkLifetime time.Duration
	// Stop ends streams when it is closed, so that the listener can shut down.
	Stop <-chan struct{}
	// Version is this program's version.
	Version string
	// Log is required.
	Log *zap.Logger
}

// Bucket contains the stored files. media.Bucket implements it.
type Bucket interface {
	// Open opens an object. The error is fs.ErrNotExist if there is none.
	Open(ctx context.Context, object string) (io.ReadSeekCloser, error)
	// SignedURL returns a link to an object; empty if the bucket cannot sign links.
	SignedURL(ctx context.Context, object string, lifetime time.Duration) (string, error)
}

// Repeater repeats work. worker.Replayer implements it.
type Repeater interface {
	// Replay enqueues the task of a dead letter again; Discard drops it. Both return false
	// if the dead letter had ended already.
	Replay(ctx context.Context, id int64) (ended bool, err error)
	Discard(ctx context.Context, id int64) (ended bool, err error)
	// Download downloads a file of a job again, or all files if name is empty. Notify sends
	// notifications of a job's state again. Both return how many tasks they enqueued.
	Download(ctx context.Context, job tasks.JobKey, name string) (int, error)
	Notify(ctx context.Context, job tasks.JobKey, destinations []string) (int, error)
}

// dashboard serves the pages and the API.
type dashboard struct {
	cfg      Config
	pages    *pages
	runs     *runs
	checking sync.Mutex // held while checks run
	checked  atomic.Pointer[checkResults]
	streams  *streams
}

// Dashboard is the handler of everything below the prefix.
type Dashboard struct {
	http.Handler
	runs *runs
}

// New returns a Dashboard. Close it after its last request.
func New(cfg Config) *Dashboard {
	d := &dashboard{cfg: cfg, pages: newPages(cfg.Prefix)}
	d.runs, d.streams = newRuns(d), newStreams(d)
	mux := http.NewServeMux()
	d.routePages(mux)
	d.routeFailures(mux)
	d.routeRejections(mux)
	d.routeHealth(mux)
	d.routeAPI(mux)
	d.routeQueues(mux)
	return &Dashboard{mux, d.runs}
}

// Close stops replaying or discarding in the background, after the current dead letter.
func (d *Dashboard) Close() { d.runs.close() }

// routeQueues serves asynq's pages, read-only to viewers.
func (d *dashboard) routeQueues(mux *http.ServeMux) {
	full, readOnly := NewQueues(d.cfg, false), NewQueues(d.cfg, true)
	queues := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if login.UserOf(r.Context()).Viewer {
			readOnly.ServeHTTP(w, r)
			return
		}
		full.ServeHTTP(w, r)
	})
	home := d.cfg.Prefix + admin.QueuesPath
	mux.Handle(home, queues)
	mux.Handle(home+"/", queues)
}
