package kling

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/klinghook/klinghook/tasks"
)

// MaxPage is how many jobs one page of a list has at most.
const MaxPage = 500

// ListQuery says which jobs of the new API to list. The zero ListQuery is those of
// the last 30 days.
type ListQuery struct {
	// From and To bound when the jobs were created. Default 30 days before To, and
	// now. Kling ignores them where there is a Cursor.
	From, To time.Time
	// Statuses are what the jobs may be; empty for all. Kling has no filter for
	// tasks.StatusCancelled.
	Statuses []tasks.Status
	// Product is "video", "image" or "try_on"; empty for all.
	Product string
	// Limit is how many jobs the page has at most, up to MaxPage. Default Kling's,
	// which is 100.
	Limit int
	// Cursor is the Next of the page before; empty for the first.
	Cursor string
}

// Page is a part of a list.
type Page struct {
	Jobs []Job
	// Next is the Cursor of the next page; empty after the last.
	Next string
}

// List returns a page of the new API's jobs. With an ErrUnreadable come the jobs
// that could be read, and Next.
func (c *Client) List(ctx context.Context, q ListQuery) (Page, error) {
	in, err := q.body()
	if err != nil {
		return Page{}, fmt.Errorf("list jobs: %w", err)
	}
	got, err := c.do(ctx, call{method: http.MethodPost, path: "/tasks", in: in, apiKeyOnly: true})
	if err != nil {
		return Page{}, fmt.Errorf("list jobs: %w", err)
	}
	var page Page
	page.Jobs, err = got.jobs(KindTasks)
	if data := got.object(); string(data.get("has_more")) != "false" {
		page.Next = data.scalar("next_cursor")
	}
	switch {
	case err != nil:
		return page, fmt.Errorf("list jobs: %w", err)
	case page.Next != "" && page.Next == q.Cursor:
		return page, fmt.Errorf("list jobs: %w: the next page is this one", ErrUnreadable)
	}
	return page, nil
}

// listBody is what POST /tasks takes.
type listBody struct {
	Start   string       `json:"start_time,omitempty"` // milliseconds since 1970
	End     string       `json:"end_time,omitempty"`
	Cursor  string       `json:"cursor,omitempty"`
	Limit   int          `json:"limit,omitempty"`
	Filters []listFilter `json:"filters,omitempty"`
}

type listFilter struct {
	Key    string   `json:"key"`
	Values []string `json:"values"`
}

func (q ListQuery) body() (listBody, error) {
	if q.Limit < 0 || q.Limit > MaxPage {
		return listBody{}, fmt.Errorf("%w: a page has 1 to %d jobs", ErrInvalid, MaxPage)
	}
	in := listBody{Start: millis(q.From), End: millis(q.To), Cursor: q.Cursor, Limit: q.Limit}
	var statuses []string
	for _, status := range q.Statuses {
		word := newWord(status)
		if word == "" {
			return listBody{}, fmt.Errorf("%w: Kling has no filter for the status %q", ErrInvalid, status)
		}
		statuses = append(statuses, word)
	}
	if len(statuses) > 0 {
		in.Filters = append(in.Filters, listFilter{"status", statuses})
	}
	if q.Product != "" {
		in.Filters = append(in.Filters, listFilter{"product_type", []string{q.Product}})
	}
	return in, nil
}

func millis(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return strconv.FormatInt(t.UnixMilli(), 10)
}

// newWord is a status in the new API's words; empty for none.
func newWord(status tasks.Status) string {
	switch status {
	case tasks.StatusCreated:
		return "submitted"
	case tasks.StatusProcessing:
		return "processing"
	case tasks.StatusCompleted:
		return "succeeded"
	case tasks.StatusFailed:
		return "failed"
	}
	return ""
}

// LegacyList returns a page of the jobs of one legacy kind, counted from 1, with
// size jobs, up to MaxPage. A page with fewer is the last. With an ErrUnreadable
// come the jobs that could be read.
func (c *Client) LegacyList(ctx context.Context, kind Kind, page, size int) ([]Job, error) {
	path, err := kind.legacyPath()
	if err == nil && (page < 1 || size < 1 || size > MaxPage) {
		err = fmt.Errorf("%w: pages count from 1 and have 1 to %d jobs", ErrInvalid, MaxPage)
	}
	if err != nil {
		return nil, fmt.Errorf("list jobs: %w", err)
	}
	query := url.Values{"pageNum": {strconv.Itoa(page)}, "pageSize": {strconv.Itoa(size)}}
	got, err := c.do(ctx, call{method: http.MethodGet, path: path, query: query.Encode()})
	if err != nil {
		return nil, fmt.Errorf("list jobs of %s: %w", kind, err)
	}
	jobs, err := got.jobs(kind)
	if err != nil {
		return jobs, fmt.Errorf("list jobs of %s: %w", kind, err)
	}
	return jobs, nil
}
