package dashboard

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
	"github.com/hibiken/asynq"

	"github.com/klinghook/klinghook/internal/store"
	"github.com/klinghook/klinghook/tasks"
)

// Rejection is a delivery that ingest refused.
type Rejection struct {
	ID         string            `json:"id" doc:"The id of this record."`
	ReceivedAt time.Time         `json:"received_at" doc:"When the delivery arrived."`
	Source     string            `json:"source" doc:"The protocol of the endpoint; unknown if the path is wrong." example:"klingai"`
	Reason     string            `json:"reason" doc:"The outcome, as metrics name it." example:"invalid_signature"`
	Detail     string            `json:"detail,omitempty" doc:"The reason in words."`
	Peer       string            `json:"peer" doc:"The address and port of the sender."`
	Headers    map[string]string `json:"headers" doc:"Of credentials and signatures only the length."`
	Body       string            `json:"body" doc:"At most its first 4 KiB, without the secrets in links."`
}

// QueueState is a queue of tasks.
type QueueState struct {
	Name                 string  `json:"name" doc:"What the queue is for: events, media, notify or rejections; with shards also events-1 and so on."`
	Paused               bool    `json:"paused" doc:"Whether an operator paused it."`
	Pending              int     `json:"pending" doc:"Tasks that wait for a worker."`
	Active               int     `json:"active" doc:"Tasks that are running."`
	Scheduled            int     `json:"scheduled" doc:"Tasks that run later."`
	Retry                int     `json:"retry" doc:"Tasks that failed and wait for the next attempt."`
	Archived             int     `json:"archived" doc:"Tasks that were given up."`
	OldestPendingSeconds float64 `json:"oldest_pending_seconds" doc:"How long the oldest pending task has waited."`
	RunsToday            int     `json:"runs_today" doc:"Attempts since midnight UTC."`
	FailuresToday        int     `json:"failures_today" doc:"Failed attempts since midnight UTC."`
	Workers              int     `json:"workers" doc:"Processes that run tasks of this queue."`
}

type (
	rejectionsInput struct {
		Source string `query:"source" doc:"Only deliveries at endpoints of this protocol."`
		Reason string `query:"reason" doc:"Only deliveries refused for this reason."`
		Limit  int    `query:"limit" minimum:"1" maximum:"200" default:"50" doc:"The most deliveries to return."`
		Cursor string `query:"cursor" doc:"The next_cursor of the previous page."`
	}
	rejectionsOutput struct {
		Body struct {
			Rejections []Rejection `json:"rejections" doc:"The newest first."`
			NextCursor string      `json:"next_cursor,omitempty" doc:"Missing on the last page."`
		} `nameHint:"RejectionList"`
	}
	queuesOutput struct {
		Body struct {
			Queues []QueueState `json:"queues" doc:"In a fixed order."`
		} `nameHint:"QueueList"`
	}
	streamInput struct {
		LastEventID string `header:"Last-Event-ID" doc:"The id of the last event that you received. The stream continues there."`
	}
)

// streamExample is what a client of the stream reads.
const streamExample = `retry: 2000

id: 1769852402000000
event: job
data: {"platform":"kling","id":"893605946402811985","status":"processing","progress":40,"contradicted":false,"video_missing":false,"no_media":false,"test_callback":false,` +
	`"first_received_at":"2026-01-31T09:40:00Z","last_received_at":"2026-01-31T09:40:02Z","media":[],"open_dead_letters":0}

id: 1769852460000000
event: deleted
data: {"platform":"kling","id":"893605946402811985"}

`

// addOperation adds the operations that show what klinghook is doing.
func (d *dashboard) addOperation(api huma.API) {
	op := func(id, path, summary string) huma.Operation {
		return huma.Operation{OperationID: id, Method: http.MethodGet, Path: path, Summary: summary, Tags: []string{"Operation"}}
	}
	add(d, api, op("list-rejections", "/rejections", "List a sample of the refused deliveries, newest first"), d.listRejections)
	add(d, api, op("list-queues", "/queues", "List the queues with their tasks and workers"), d.listQueues)
	stream := op("stream-jobs", "/stream", "Stream changes of jobs as server-sent events")
	stream.Description = `An event "job" has a job that is new or has changed, in its present state, as a ListedJob in JSON. "deleted" has the platform and id of a job that was deleted. ` +
		`"reset" means that changes are missing: read the list of jobs again. The same state may arrive more than once. Changes arrive within about a second, and a comment every 15 seconds. ` +
		"The server may end the stream at any time; connect again with Last-Event-ID. Changes of a worker may be missing if its clock is more than 10 seconds slow. " +
		"At most 200 clients can listen at once (503)."
	content := map[string]*huma.MediaType{"text/event-stream": {Schema: &huma.Schema{Type: huma.TypeString, Description: "Server-sent events: lines id, event and data, and an empty line after each event."}, Example: streamExample}}
	stream.Responses = map[string]*huma.Response{"200": {Description: "The events", Content: content}}
	add(d, api, stream, func(_ context.Context, in *streamInput) (*huma.StreamResponse, error) {
		return &huma.StreamResponse{Body: func(ctx huma.Context) {
			r, w := humago.Unwrap(ctx)
			d.streams.serve(w, r, in.LastEventID)
		}}, nil
	})
}

func (d *dashboard) listRejections(ctx context.Context, in *rejectionsInput) (*rejectionsOutput, error) {
	before, err := store.ParsePosition(in.Cursor)
	if err != nil {
		return nil, badCursor("query.cursor")
	}
	rows, err := d.cfg.Store.Rejections(ctx, store.RejectionFilter{Source: in.Source, Reason: in.Reason, Before: before, Limit: in.Limit + 1})
	if err != nil {
		return nil, err
	}
	out := new(rejectionsOutput)
	if len(rows) > in.Limit {
		rows = rows[:in.Limit]
		last := rows[in.Limit-1]
		out.Body.NextCursor = store.Position{At: last.ReceivedAt, ID: last.ID}.String()
	}
	out.Body.Rejections = listed(rows, func(r tasks.Rejection) Rejection {
		return Rejection{r.ID, r.ReceivedAt, r.Source, r.Reason, withoutLinkSecrets(r.Detail), r.Peer, withoutHeaderSecrets(r.Headers), format("", withoutSignatures(r.Body))}
	})
	return out, nil
}

func (d *dashboard) listQueues(_ context.Context, _ *struct{}) (*queuesOutput, error) {
	inspector := asynq.NewInspectorFromRedisClient(d.cfg.Redis)
	known, err := inspector.Queues()
	if err != nil {
		return nil, fmt.Errorf("list queues: %w", err)
	}
	workers, err := tasks.Workers(d.cfg.Redis)
	if err != nil {
		return nil, err
	}
	out := new(queuesOutput)
	for _, name := range tasks.AllQueues(max(d.cfg.EventShards, 1)) {
		info := new(asynq.QueueInfo)
		if slices.Contains(known, name) { // else it never had a task
			if info, err = inspector.GetQueueInfo(name); err != nil {
				return nil, fmt.Errorf("read queue %s: %w", name, err)
			}
		}
		out.Body.Queues = append(out.Body.Queues, QueueState{
			name, info.Paused, info.Pending, info.Active, info.Scheduled, info.Retry, info.Archived, info.Latency.Seconds(), info.Processed, info.Failed, workers[name],
		})
	}
	return out, nil
}
