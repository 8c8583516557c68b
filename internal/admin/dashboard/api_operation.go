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
	ID         string            `json:"id"`
	ReceivedAt time.Time         `json:"received_at"`
	Source     string            `json:"source" doc:"The protocol of the endpoint, or unknown."`
	Reason     string            `json:"reason" example:"invalid_signature"`
	Detail     string            `json:"detail,omitempty"`
	Peer       string            `json:"peer" doc:"The address of the sender."`
	Headers    map[string]string `json:"headers" doc:"Only the length of credentials and signatures."`
	Body       string            `json:"body" doc:"At most its first 4 KiB, without the secrets in links."`
}

// QueueState is a queue of tasks.
type QueueState struct {
	Name                 string  `json:"name"`
	Paused               bool    `json:"paused"`
	Pending              int     `json:"pending" doc:"Tasks that wait for a worker."`
	Active               int     `json:"active" doc:"Tasks that run."`
	Scheduled            int     `json:"scheduled" doc:"Tasks for later."`
	Retry                int     `json:"retry" doc:"Tasks that failed and wait for the next attempt."`
	Archived             int     `json:"archived" doc:"Tasks that were given up."`
	OldestPendingSeconds float64 `json:"oldest_pending_seconds" doc:"The age of the oldest pending task."`
	RunsToday            int     `json:"runs_today" doc:"Attempts since midnight UTC."`
	FailuresToday        int     `json:"failures_today" doc:"Failed attempts since midnight UTC."`
	Workers              int     `json:"workers" doc:"Processes that run tasks of this queue."`
}

type (
	rejectionsInput struct {
		Source string `query:"source" doc:"Only deliveries at endpoints of this protocol."`
		Reason string `query:"reason" doc:"Only deliveries refused for this reason."`
		Limit  int    `query:"limit" minimum:"1" maximum:"200" default:"50"`
		Cursor string `query:"cursor" doc:"next_cursor of the page before."`
	}
	rejectionsOutput struct {
		Body struct {
			Rejections []Rejection `json:"rejections" doc:"The newest first."`
			NextCursor string      `json:"next_cursor,omitempty" doc:"Missing on the last page."`
		} `nameHint:"RejectionList"`
	}
	queuesOutput struct {
		Body struct {
			Queues []QueueState `json:"queues"`
		} `nameHint:"QueueList"`
	}
	streamInput struct {
		LastEventID string `header:"Last-Event-ID" doc:"The id of the last event that arrived: the stream continues after it."`
	}
)

// addOperation adds the operations that show what klinghook is doing.
func (d *dashboard) addOperation(api huma.API) {
	op := func(id, path, summary string) huma.Operation {
		return huma.Operation{OperationID: id, Method: http.MethodGet, Path: path, Summary: summary, Tags: []string{"Operation"}}
	}
	add(d, api, op("list-rejections", "/rejections", "List a sample of the refused deliveries, the newest first"), d.listRejections)
	add(d, api, op("list-queues", "/queues", "List the queues with their depth and workers"), d.listQueues)
	stream := op("stream-jobs", "/stream", "Stream changes of jobs as server-sent events")
	stream.Description = `Each event "job" has a job as in the list of jobs, in its present state. An event "reset" means that changes were left out: read the lists again. ` +
		"A comment arrives every 15 seconds. The server may end the stream; connect again with the last id."
	content := map[string]*huma.MediaType{"text/event-stream": {Schema: &huma.Schema{Type: huma.TypeString}}}
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
		return nil, badCursor()
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
