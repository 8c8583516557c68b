package dashboard

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/danielgtaylor/huma/v2"

	"github.com/klinghook/klinghook/internal/admin/login"
	"github.com/klinghook/klinghook/internal/store"
)

// ListedEvent is an event in a list.
type ListedEvent struct {
	Event
	Size int64 `json:"size" doc:"The length of the body in bytes."`
}

// EventDetail is an event with its headers and its body.
type EventDetail struct {
	ListedEvent
	Headers map[string]string `json:"headers" doc:"The headers that verification needs. The values of signatures are hidden."`
	Body    string            `json:"body" doc:"The body without the secrets in links. GET /events/{id}/body has the exact bytes."`
}

type (
	eventsInput struct {
		JobID       string    `query:"job_id" doc:"Only events of the job with this id."`
		Platform    string    `query:"platform" default:"kling" doc:"The platform of that job."`
		Type        string    `query:"type" doc:"Only events of this type." example:"video.completed"`
		Source      string    `query:"source" doc:"Only events of this protocol; lookup for answers to klinghook's own questions."`
		Since       time.Time `query:"since" doc:"Only events received at or after this time."`
		Until       time.Time `query:"until" doc:"Only events received before this time."`
		Unprocessed bool      `query:"unprocessed" default:"false" doc:"Only events whose downloads and notifications were not queued yet."`
		Limit       int       `query:"limit" minimum:"1" maximum:"200" default:"50" doc:"The most events to return."`
		Cursor      string    `query:"cursor" doc:"The next_cursor of the previous page."`
	}
	eventsOutput struct {
		Body struct {
			Events     []ListedEvent `json:"events" doc:"The latest first."`
			NextCursor string        `json:"next_cursor,omitempty" doc:"Missing on the last page."`
		} `nameHint:"EventList"`
	}
	eventInput struct {
		ID string `path:"id" doc:"The event's id. Escape it." example:"klingai:247582a5"`
	}
	eventOutput     struct{ Body EventDetail }
	eventBodyOutput struct {
		ContentType string `header:"Content-Type"`
		Disposition string `header:"Content-Disposition"`
		Body        []byte
	}
)

// addEvents adds the operations of events.
func (d *dashboard) addEvents(api huma.API) {
	op := func(id, path, summary string, errors ...int) huma.Operation {
		return huma.Operation{OperationID: id, Method: http.MethodGet, Path: path, Summary: summary, Tags: []string{"Events"}, Errors: errors}
	}
	add(d, api, op("list-events", "/events", "List events, latest first"), d.listEvents)
	add(d, api, op("get-event", "/events/{id}", "Get an event with its headers and body", 404), func(ctx context.Context, in *eventInput) (*eventOutput, error) {
		event, err := d.event(ctx, in.ID)
		if err != nil {
			return nil, err
		}
		return &eventOutput{EventDetail{ListedEvent{NewEvent(event), int64(len(event.Body))}, withoutHeaderSecrets(event.Headers), format("", event.Body)}}, nil
	})
	body := op("get-event-body", "/events/{id}/body", "Download the body of an event, byte for byte", 403, 404)
	body.Description = "It may contain links with signatures, so viewers get 403."
	body.Responses = map[string]*huma.Response{"200": {Description: "The body", Content: map[string]*huma.MediaType{"application/octet-stream": {Schema: &huma.Schema{Type: "string", Format: "binary"}}}}}
	add(d, api, body, func(ctx context.Context, in *eventInput) (*eventBodyOutput, error) {
		if login.UserOf(ctx).Viewer {
			return nil, problemf(http.StatusForbidden, "viewers cannot download bodies, which may contain links with signatures; /events/{id} has the body without them")
		}
		event, err := d.event(ctx, in.ID)
		return &eventBodyOutput{"application/octet-stream", "attachment", event.Body}, err
	})
}

// event returns an event. None has an id that cannot be stored.
func (d *dashboard) event(ctx context.Context, id string) (event store.StoredEvent, err error) {
	err = store.ErrNotFound
	if utf8.ValidString(id) && !strings.ContainsRune(id, 0) {
		event, err = d.cfg.Store.Event(ctx, id)
	}
	if errors.Is(err, store.ErrNotFound) {
		err = problemf(http.StatusNotFound, "there is no event %.300q", id)
	}
	return event, err
}

func (d *dashboard) listEvents(ctx context.Context, in *eventsInput) (*eventsOutput, error) {
	before, err := store.ParsePosition(in.Cursor)
	if err != nil {
		return nil, badCursor("query.cursor")
	}
	job, err := onlyJob("query", in.Platform, in.JobID)
	if err != nil {
		return nil, err
	}
	rows, err := d.cfg.Store.ListEvents(ctx, store.EventQuery{
		Job: job, Type: in.Type, Source: in.Source, Since: in.Since, Until: in.Until,
		Unprocessed: in.Unprocessed, Before: before, Limit: in.Limit + 1,
	})
	if err != nil {
		return nil, err
	}
	out := new(eventsOutput)
	if len(rows) > in.Limit {
		rows = rows[:in.Limit]
		out.Body.NextCursor = rows[in.Limit-1].Position().String()
	}
	out.Body.Events = listed(rows, func(row store.EventRow) ListedEvent { return ListedEvent{NewEvent(row.StoredEvent), row.Size} })
	return out, nil
}
