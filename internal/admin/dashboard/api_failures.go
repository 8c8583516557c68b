package dashboard

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/klinghook/klinghook/internal/store"
	"github.com/klinghook/klinghook/tasks"
)

// LetterFilter selects dead letters that match all of its fields.
type LetterFilter struct {
	_        struct{}  `additionalProperties:"false"`
	Text     string    `json:"q,omitempty" query:"q" doc:"Those whose last error, job id or task id contains this text. Case does not matter."`
	Cause    string    `json:"cause,omitempty" query:"cause" doc:"Those with this cause, as in groups."`
	Kind     string    `json:"kind,omitempty" query:"kind" enum:"event:record,media:download,media:find,notify:send,rejection:keep" doc:"Those with tasks of this kind."`
	JobID    string    `json:"job_id,omitempty" query:"job_id" doc:"Those of the job with this id."`
	Platform string    `json:"platform,omitempty" query:"platform" default:"kling" doc:"The platform of that job."`
	Since    time.Time `json:"since,omitzero" query:"since" doc:"Those that failed at or after this time."`
	Until    time.Time `json:"until,omitzero" query:"until" doc:"Those that failed before this time."`
}

// filter returns the filter for the store. Location is where f was in the request.
func (f LetterFilter) filter(location string) (store.DeadLetterFilter, error) {
	job, err := onlyJob(location, f.Platform, f.JobID)
	return store.DeadLetterFilter{Text: f.Text, Cause: f.Cause, Kind: tasks.Kind(f.Kind), Job: job, Since: f.Since, Before: f.Until}, err
}

// isZero reports whether the filter selects all.
func (f LetterFilter) isZero() bool {
	f.Platform = ""
	return f == LetterFilter{}
}

// DeadLetterGroup is the dead letters with the same cause.
type DeadLetterGroup struct {
	Cause     string    `json:"cause" doc:"What their errors have in common."`
	Kind      string    `json:"kind" doc:"The kind of their tasks."`
	Count     int64     `json:"count" doc:"How many there are."`
	NewestAt  time.Time `json:"newest_at" doc:"When the last one failed."`
	ExampleID int64     `json:"example_id" doc:"The id of one of them."`
}

type (
	lettersInput struct {
		LetterFilter
		Ended  bool   `query:"ended" default:"false" doc:"Also those that were replayed, discarded or done."`
		Limit  int    `query:"limit" minimum:"1" maximum:"200" default:"50" doc:"The most dead letters to return."`
		Cursor string `query:"cursor" doc:"The next_cursor of the previous page."`
	}
	lettersOutput struct {
		Body struct {
			DeadLetters []DeadLetter      `json:"dead_letters" doc:"The newest first."`
			NextCursor  string            `json:"next_cursor,omitempty" doc:"Missing on the last page."`
			Total       int64             `json:"total" doc:"How many match, on all pages together."`
			Groups      []DeadLetterGroup `json:"groups" doc:"All that match, by cause and kind, the largest group first. Empty on later pages."`
		} `nameHint:"DeadLetterList"`
	}
	letterInput struct {
		ID int64 `path:"id" doc:"The dead letter's id."`
	}
	letterOutput struct {
		Body struct {
			DeadLetter
			Content string `json:"content" doc:"The payload of the task without the secrets in links."`
		} `nameHint:"DeadLetterDetail"`
	}
	// EndLetters selects dead letters to replay or discard.
	EndLetters struct {
		_      struct{}      `additionalProperties:"false"`
		IDs    []int64       `json:"ids,omitempty" maxItems:"500" doc:"These dead letters."`
		Filter *LetterFilter `json:"filter,omitempty" doc:"All that match."`
		All    bool          `json:"all,omitempty" doc:"All that are open."`
		Limit  int           `json:"limit,omitempty" minimum:"1" maximum:"500" default:"100" doc:"How many one request ends at most."`
		Cursor string        `json:"cursor,omitempty" doc:"next_cursor of the answer before."`
	}
	endInput struct {
		Body EndLetters
	}
	endOutput struct {
		Body struct {
			Ended      int             `json:"ended" doc:"How many were replayed or discarded."`
			Failed     []letterFailure `json:"failed" doc:"Those that were not, and ids that no open dead letter has."`
			Remaining  int64           `json:"remaining" doc:"How many are left to do."`
			NextCursor string          `json:"next_cursor,omitempty" doc:"Send the request again with this cursor to go on. Missing when all are done."`
		} `nameHint:"EndedLetters"`
	}
)

// addFailureOperations adds the operations of dead letters.
func (d *dashboard) addFailureOperations(api huma.API) {
	op := func(id, method, path, summary string, errors ...int) huma.Operation {
		return huma.Operation{OperationID: id, Method: method, Path: path, Summary: summary, Tags: []string{"Failures"}, Errors: errors}
	}
	add(d, api, op("list-deadletters", http.MethodGet, "/deadletters", "List dead letters, with counts by cause"), d.listLetters)
	add(d, api, op("get-deadletter", http.MethodGet, "/deadletters/{id}", "Get a dead letter with its payload and every attempt", 404), func(ctx context.Context, in *letterInput) (*letterOutput, error) {
		letters, err := d.cfg.Store.DeadLetters(ctx, store.DeadLetterFilter{IDs: []int64{in.ID}, Ended: true})
		if err == nil && len(letters) == 0 {
			err = problemf(http.StatusNotFound, "there is no dead letter %d", in.ID)
		}
		if err != nil {
			return nil, err
		}
		out := new(letterOutput)
		out.Body.DeadLetter, out.Body.Content = NewDeadLetter(letters[0]).withoutSecrets(), format(string(letters[0].Task.Kind), letters[0].Task.Payload)
		return out, nil
	})
	const many = "Select them by ids, by filter, or all. One request ends at most limit of them, in order of their ids; repeat it with next_cursor until that is missing. Those that fail after the first request are left out."
	replay := op("replay-deadletters", http.MethodPost, "/deadletters/replay", "Run the work of dead letters again", 400, 413, 415)
	replay.Description = many + " Repeating is safe: work that is queued or done is not done twice."
	add(d, api, replay, func(ctx context.Context, in *endInput) (*endOutput, error) { return d.end(ctx, replayLetters, in.Body) })
	discard := op("discard-deadletters", http.MethodPost, "/deadletters/discard", "Discard dead letters", 400, 413, 415)
	discard.Description = many + " Their work stays undone."
	add(d, api, discard, func(ctx context.Context, in *endInput) (*endOutput, error) {
		return d.end(ctx, discardLetters, in.Body)
	})
	for _, path := range []string{"/deadletters/replay", "/deadletters/discard"} {
		api.OpenAPI().Paths[path].Post.RequestBody.Content["application/json"].Examples = map[string]*huma.Example{
			"ids":    {Summary: "By their ids", Value: map[string]any{"ids": []int{17, 18}}},
			"filter": {Summary: "All that match", Value: map[string]any{"filter": map[string]any{"kind": "media:download", "since": "2026-01-31T00:00:00Z"}}},
			"all":    {Summary: "All that are open", Value: map[string]any{"all": true}},
		}
	}
}

func (d *dashboard) listLetters(ctx context.Context, in *lettersInput) (*lettersOutput, error) {
	filter, err := in.filter("query")
	if err != nil {
		return nil, err
	}
	filter.Ended, filter.Outline, filter.Newest, filter.Limit = in.Ended, true, true, in.Limit+1
	if filter.Below, err = parseCursor(in.Cursor); err != nil {
		return nil, err
	}
	letters, err := d.cfg.Store.DeadLetters(ctx, filter)
	if err != nil {
		return nil, err
	}
	out := new(lettersOutput)
	if len(letters) > in.Limit {
		letters = letters[:in.Limit]
		out.Body.NextCursor = cursorOf(letters[in.Limit-1].ID)
	}
	out.Body.DeadLetters = listed(letters, func(letter store.DeadLetter) DeadLetter { return NewDeadLetter(letter).withoutSecrets() })
	filter.Below = 0
	if out.Body.Total, err = d.cfg.Store.CountDeadLetters(ctx, filter); err != nil {
		return nil, err
	}
	out.Body.Groups = []DeadLetterGroup{}
	if in.Cursor == "" {
		groups, err := d.cfg.Store.DeadLetterGroups(ctx, filter)
		if err != nil {
			return nil, err
		}
		out.Body.Groups = listed(groups, func(g store.DeadLetterGroup) DeadLetterGroup {
			return DeadLetterGroup{g.Cause, string(g.Kind), g.Count, g.Newest, g.Example.ID}
		})
	}
	return out, nil
}

// end replays or discards a page of dead letters.
func (d *dashboard) end(ctx context.Context, action letterAction, in EndLetters) (*endOutput, error) {
	filter, started := store.DeadLetterFilter{IDs: in.IDs}, time.Now()
	ways := 0
	for _, chosen := range []bool{len(in.IDs) > 0, in.Filter != nil, in.All} {
		if chosen {
			ways++
		}
	}
	if ways != 1 || in.Filter != nil && in.Filter.isZero() {
		return nil, invalid("body", `select dead letters by one of ids, filter with at least one field, or "all": true`)
	}
	if in.Filter != nil {
		var err error
		if filter, err = in.Filter.filter("body.filter"); err != nil {
			return nil, err
		}
	}
	if in.Cursor != "" {
		var micros int64
		if n, err := fmt.Sscanf(in.Cursor, "%d.%d", &filter.After, &micros); err != nil || n != 2 {
			return nil, badCursor("body.cursor")
		}
		started = time.UnixMicro(micros)
	}
	if filter.Before.IsZero() || filter.Before.After(started) {
		filter.Before = started
	}
	filter.Limit = in.Limit
	out := new(endOutput)
	out.Body.Failed = []letterFailure{}
	if in.Cursor == "" && len(in.IDs) > 0 {
		var err error
		if out.Body.Failed, err = d.lettersNotOpen(ctx, in.IDs); err != nil {
			return nil, err
		}
	}
	result, err := d.endLetters(ctx, action, filter)
	if err != nil {
		return nil, err
	}
	out.Body.Ended, out.Body.Failed = result.Ended, append(out.Body.Failed, result.Failed...)
	if result.After == 0 {
		return out, nil
	}
	filter.After = result.After
	if out.Body.Remaining, err = d.cfg.Store.CountDeadLetters(ctx, filter); out.Body.Remaining > 0 {
		out.Body.NextCursor = fmt.Sprintf("%d.%d", result.After, started.UnixMicro())
	}
	return out, err
}

// lettersNotOpen returns a failure for each id that no open dead letter has.
func (d *dashboard) lettersNotOpen(ctx context.Context, ids []int64) ([]letterFailure, error) {
	known, err := d.cfg.Store.DeadLetters(ctx, store.DeadLetterFilter{IDs: ids, Ended: true, Outline: true})
	failures := []letterFailure{}
	for _, id := range ids {
		i := slices.IndexFunc(known, func(letter store.DeadLetter) bool { return letter.ID == id })
		switch {
		case i < 0:
			failures = append(failures, letterFailure{id, "there is no such dead letter"})
		case known[i].State != store.DeadLetterDead:
			failures = append(failures, letterFailure{id, "it is not open; its state is " + string(known[i].State)})
		}
	}
	return failures, err
}
