package dashboard

import (
	"cmp"
	"context"
	"net"
	"net/http"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/klinghook/klinghook/internal/source"
	"github.com/klinghook/klinghook/internal/store"
	"github.com/klinghook/klinghook/tasks"
)

// firstPage is the data of the page that says how to start.
type firstPage struct {
	// Ways are the ways in which Kling can send deliveries.
	Ways []way
	// Own is the last test delivery of klinghook doctor, Test the last test callback of
	// Kling's console, Event the last event, and Refused the last refused delivery. Each is
	// nil if there is none.
	Own     *tasks.TestDelivery
	Test    *store.JobRow
	Event   *store.StoredEvent
	Refused *tasks.Rejection
	// Sample reports that a sample job can be created: this is klinghook dev.
	Sample bool
	// Port is the port that receives webhooks.
	Port string
}

// way describes a protocol on the page.
type way struct{ Name, When, Path, Setting string }

// ways describes the protocols in which Kling sends deliveries.
func ways() []way {
	unsigned := source.CallbackProtocol()
	list := []way{{"Unsigned callbacks", "Your account has no Webhook Secret. Such a callback only makes klinghook ask Kling about the job.",
		strings.Replace(unsigned.Path, ":token", "<token>", 1), unsigned.SecretSetting}}
	for _, protocol := range source.Protocols() {
		w := way{"Registered webhooks", "Your account or gateway signs with X-Kling-Signature. Register the address with klinghook webhooks register.", protocol.Path, protocol.SecretSetting}
		if protocol.Name == "klingai-official" {
			w.Name, w.When = "Callbacks for single tasks", "You pass callback_url when you create a task. Start here if you are not sure. The secret is the Webhook Secret in Kling's console."
		}
		list = append([]way{w}, list...)
	}
	return list
}

// serveFirst serves the page that says how to start. tests are test callbacks, newest
// first.
func (d *dashboard) serveFirst(w http.ResponseWriter, r *http.Request, tests []store.JobRow) {
	_, port, _ := net.SplitHostPort(d.cfg.WebhookAddr)
	data := firstPage{Ways: ways(), Sample: d.cfg.Sample != nil && d.canAct(r), Port: cmp.Or(port, "5000")}
	if len(tests) > 0 {
		data.Test = &tests[0]
	}
	err := d.lastArrivals(r.Context(), &data)
	if err != nil {
		d.showError(w, r, err)
		return
	}
	d.show(w, r, view{Name: "first", Title: "Connect Kling", Section: "/", Data: data})
}

// lastArrivals finds the latest test delivery, event and refused delivery.
func (d *dashboard) lastArrivals(ctx context.Context, data *firstPage) error {
	var err error
	if data.Own, err = d.lastTest(ctx); err != nil {
		d.cfg.Log.Debug("test deliveries not read", zap.Error(err))
	}
	events, err := d.cfg.Store.Events(ctx, store.EventFilter{Limit: 1})
	if err != nil {
		return err
	}
	refused, err := d.cfg.Store.Rejections(ctx, store.RejectionFilter{Limit: 1})
	if err != nil {
		return err
	}
	for i := range events {
		data.Event = &events[i]
	}
	for i := range refused {
		data.Refused = &refused[i]
	}
	return nil
}

// lastTest returns the last test delivery. It waits for Redis only briefly.
func (d *dashboard) lastTest(ctx context.Context) (*tasks.TestDelivery, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	return tasks.LastTestDelivery(ctx, d.cfg.Redis)
}

// makeSample creates a sample job.
func (d *dashboard) makeSample(w http.ResponseWriter, r *http.Request) {
	if d.cfg.Sample == nil {
		d.showNotFound(w, r)
		return
	}
	if err := d.cfg.Sample(r.Context()); err != nil {
		d.cfg.Log.Error("sample job not sent", zap.Error(err))
		d.showProblem(w, r, http.StatusServiceUnavailable, "No sample job", "The sample job could not be sent. The log says why.")
		return
	}
	d.goTo(w, r, "/", "sample", 1)
}
