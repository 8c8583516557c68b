package dashboard

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/klinghook/klinghook/internal/store"
	"github.com/klinghook/klinghook/tasks"
)

const (
	// galleryLimit and tableLimit are how many jobs a page lists.
	galleryLimit = 24
	tableLimit   = 50
	// maxNewJobs bounds the count of jobs that are newer than those on the page.
	maxNewJobs = 100
	// maxCards is how many cards are rendered again at once.
	maxCards = 50
)

// jobsPage is the data of the list of jobs.
type jobsPage struct {
	Filter jobFilter
	Cards  []jobCard
	Facets store.Facets
	// Next continues the list; empty at its end.
	Next string
	// Live is the URL of changed cards, to which scripts append the ids of the jobs.
	Live string
	New  newJobs
}

// newJobs links to the jobs that are newer than those on a page.
type newJobs struct {
	Count int
	More  bool // there are even more than Count
	Link  string
}

// serveJobs serves the list of jobs, or the first steps if there are none.
func (d *dashboard) serveJobs(w http.ResponseWriter, r *http.Request) {
	filter, err := parseJobFilter(r.URL.Query())
	if err != nil {
		d.showProblem(w, r, http.StatusBadRequest, "This filter cannot be read", title(err)+".")
		return
	}
	limit := galleryLimit
	if filter.Table {
		limit = tableLimit
	}
	query := filter.query()
	query.Limit = limit + 1
	rows, err := d.cfg.Store.ListJobs(r.Context(), query)
	if err != nil {
		d.showError(w, r, err)
		return
	}
	if filter.selectsAll() && len(rows) <= limit && onlyTests(rows) {
		d.serveFirst(w, r, rows)
		return
	}
	facets, err := d.cfg.Store.Facets(r.Context())
	if err != nil {
		d.showError(w, r, err)
		return
	}
	data := jobsPage{Filter: filter, Facets: facets}
	if len(rows) > limit {
		rows = rows[:limit]
		data.Next = d.cfg.Prefix + filter.link("before", strconv.FormatInt(rows[limit-1].Seq, 10))
	}
	newest := int64(0)
	if len(rows) > 0 {
		newest = rows[0].Seq
	}
	data.Cards = d.cards(rows)
	data.Live = d.cfg.Prefix + "/cards" + strings.TrimPrefix(filter.link("after", strconv.FormatInt(newest, 10)), "/")
	d.show(w, r, view{Name: "jobs", Title: "Jobs", Section: "/", Data: data})
}

// onlyTests reports whether no row is a real job.
func onlyTests(rows []store.JobRow) bool {
	return !slices.ContainsFunc(rows, func(row store.JobRow) bool { return row.Status != tasks.StatusTest && !row.TestCallback })
}

// serveCards serves some cards of a list again, for scripts, and how many jobs are newer
// than its first.
func (d *dashboard) serveCards(w http.ResponseWriter, r *http.Request) {
	filter, err := parseJobFilter(r.URL.Query())
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	var keys []tasks.JobKey
	for _, id := range r.URL.Query()["job"] {
		keys = append(keys, tasks.KlingJob(id))
	}
	rows, err := d.cfg.Store.JobRows(r.Context(), keys[:min(len(keys), maxCards)])
	if err != nil {
		d.showError(w, r, err)
		return
	}
	data := jobsPage{Filter: filter, Cards: d.cards(rows)}
	if filter.before == 0 {
		query := filter.query()
		query.Limit = maxNewJobs
		newer, err := d.cfg.Store.ListJobs(r.Context(), query)
		if err != nil {
			d.showError(w, r, err)
			return
		}
		data.New = newJobs{Count: len(newer), More: len(newer) == maxNewJobs, Link: d.cfg.Prefix + filter.link("", "")}
	}
	d.showPart(w, r, "jobs", "cards", data)
}

// jobFilter is a list of jobs as its URL describes it.
type jobFilter struct {
	Text, Source, Model, Tag string
	// Status is empty for all.
	Status tasks.Status
	// Since and Until are days, in UTC, or instants. A day that is Until is included.
	Since, Until string
	Table        bool

	since, until  time.Time
	before, after int64
}

// jobStatuses are the statuses in the order of their links.
func jobStatuses() []tasks.Status {
	return []tasks.Status{
		tasks.StatusCreated, tasks.StatusProcessing, tasks.StatusCompleted, tasks.StatusFailed, tasks.StatusCancelled, tasks.StatusLost, tasks.StatusTest,
	}
}

func parseJobFilter(query url.Values) (f jobFilter, err error) {
	f = jobFilter{
		Text: strings.TrimSpace(query.Get("q")), Source: query.Get("source"), Model: query.Get("model"), Tag: query.Get("tag"),
		Status: tasks.Status(query.Get("status")), Since: query.Get("since"), Until: query.Get("until"), Table: query.Get("view") == "table",
	}
	if f.Status != "" && !slices.Contains(jobStatuses(), f.Status) {
		return f, fmt.Errorf("there is no status %q", f.Status)
	}
	if f.since, err = parseTime("since", f.Since, 0); err != nil {
		return f, err
	}
	if f.until, err = parseTime("until", f.Until, 24*time.Hour); err != nil {
		return f, err
	}
	for name, place := range map[string]*int64{"before": &f.before, "after": &f.after} {
		if text := query.Get(name); text != "" {
			if *place, err = strconv.ParseInt(text, 10, 64); err != nil {
				return f, fmt.Errorf("%q is not a place in the list", text)
			}
		}
	}
	return f, nil
}

// parseTime parses a day or an RFC 3339 time. It adds a length to a day.
func parseTime(name, text string, day time.Duration) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if at, err := time.Parse(time.DateOnly, text); err == nil {
		return at.Add(day), nil
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return at, fmt.Errorf("%s is %q; write a day such as 2026-01-31", name, text)
	}
	return at, nil
}

func (f jobFilter) query() store.JobQuery {
	q := store.JobQuery{Text: f.Text, Source: f.Source, Model: f.Model, Tag: f.Tag, Since: f.since, Until: f.until, Before: f.before, After: f.after}
	if f.Status != "" {
		q.Statuses = []tasks.Status{f.Status}
	}
	return q
}

// selectsAll reports whether the list starts with the newest of all jobs.
func (f jobFilter) selectsAll() bool {
	f.Table = false
	return f == jobFilter{}
}

// Narrowed counts the filters besides the text and the status.
func (f jobFilter) Narrowed() (n int) {
	for _, value := range []string{f.Source, f.Model, f.Tag, f.Since, f.Until} {
		if value != "" {
			n++
		}
	}
	return n
}

// Short reports that not all jobs may have been searched for the text.
func (f jobFilter) Short() bool { return store.IsShort(f.Text) }

// Filtered reports whether the list omits jobs.
func (f jobFilter) Filtered() bool {
	return f.Narrowed() > 0 || f.Text != "" || f.Status != ""
}

// link returns the list's path and query with one value changed. Unless that is before or
// after, the list starts at its first page.
func (f jobFilter) link(name, value string) string {
	query := queryOf(map[string]string{"q": f.Text, "status": string(f.Status), "source": f.Source, "model": f.Model, "tag": f.Tag, "since": f.Since, "until": f.Until})
	if f.Table {
		query.Set("view", "table")
	}
	if query.Del(name); value != "" {
		query.Set(name, value)
	}
	return "/?" + query.Encode()
}

// Link is link for templates.
func (f jobFilter) Link(name, value string) string { return f.link(name, value) }

// Statuses returns all statuses.
func (f jobFilter) Statuses() []tasks.Status { return jobStatuses() }

// Paged reports whether the list does not start with the newest job.
func (f jobFilter) Paged() bool { return f.before != 0 }
