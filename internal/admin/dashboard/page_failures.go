package dashboard

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/klinghook/klinghook/internal/store"
	"github.com/klinghook/klinghook/tasks"
)

const (
	// failuresPerPage is how many failures one page shows.
	failuresPerPage = 25
	// maxFailuresForm limits a form of failures, in bytes.
	maxFailuresForm = 64 << 10
)

// kindNames are the pages' names for the kinds of tasks.
var kindNames = map[tasks.Kind]string{
	tasks.KindEventRecord:   "Record an event",
	tasks.KindMediaDownload: "Download a file",
	tasks.KindMediaFind:     "Find a missing file",
	tasks.KindNotifySend:    "Send a notification",
	tasks.KindRejectionKeep: "Keep a refused delivery",
}

// routeFailures serves the open dead letters, which the pages call failures.
func (d *dashboard) routeFailures(mux *http.ServeMux) {
	d.routePage(mux, "GET", "/failures", d.showFailures)
	d.routePage(mux, "GET", "/failures/new", d.serveNewFailures)
	d.routePage(mux, "POST", "/failures", d.changes(d.endFailures))
	d.routePage(mux, "GET", "/failures/runs/{id}", d.showRun)
	d.routePage(mux, "GET", "/failures/runs/{id}/progress", d.serveRunProgress)
}

// failureQuery selects failures. Its fields are those of links and forms.
type failureQuery struct {
	Text, Kind, Cause, Job, Platform, Since string
	// Until is when the page with the form was rendered: later failures are not selected.
	Until string
}

func readFailureQuery(values url.Values) failureQuery {
	return failureQuery{
		Text: strings.TrimSpace(values.Get("q")), Kind: values.Get("kind"), Cause: values.Get("cause"), Job: values.Get("job"), Platform: values.Get("platform"),
		Since: values.Get("since"), Until: values.Get("until"),
	}
}

// values returns the fields that are set.
func (q failureQuery) values() url.Values {
	return queryOf(map[string]string{"q": q.Text, "kind": q.Kind, "cause": q.Cause, "job": q.Job, "platform": q.Platform, "since": q.Since, "until": q.Until})
}

// filter returns the filter, or an error if a value would be ignored and more selected.
func (q failureQuery) filter(now time.Time) (filter store.DeadLetterFilter, err error) {
	filter = store.DeadLetterFilter{Text: q.Text, Kind: tasks.Kind(q.Kind), Cause: q.Cause}
	if q.Kind != "" && kindNames[filter.Kind] == "" {
		return filter, fmt.Errorf("there is no work %q", q.Kind)
	}
	if q.Job != "" {
		filter.Job = q.Key()
	}
	if q.Since != "" {
		ago, err := time.ParseDuration(q.Since)
		if err != nil || ago <= 0 {
			return filter, fmt.Errorf("since is %q; write a duration such as 24h", q.Since)
		}
		filter.Since = now.Add(-ago)
	}
	if q.Until != "" {
		if filter.Before, err = time.Parse(time.RFC3339Nano, q.Until); err != nil {
			return filter, fmt.Errorf("until is %q; write a time such as 2026-01-15T10:25:00Z", q.Until)
		}
	}
	return filter, nil
}

// Key is the key of the selected job.
func (q failureQuery) Key() tasks.JobKey {
	return tasks.JobKey{Platform: cmp.Or(q.Platform, tasks.PlatformKling), ID: q.Job}
}

// failuresOf selects the failures of a job.
func failuresOf(job tasks.JobKey) failureQuery {
	q := failureQuery{Job: job.ID}
	if job.Platform != tasks.PlatformKling {
		q.Platform = job.Platform
	}
	return q
}

// failuresLink returns the whole path of the selected failures.
func (d *dashboard) failuresLink(q failureQuery, more ...string) string {
	return d.cfg.Prefix + q.path(more...)
}

// path returns the path and query of the page of the selected failures, with more values.
// The page also shows later ones.
func (q failureQuery) path(more ...string) string {
	values := q.values()
	values.Del("until")
	for i := 0; i+1 < len(more); i += 2 {
		values.Set(more[i], more[i+1])
	}
	if len(values) == 0 {
		return "/failures"
	}
	return "/failures?" + values.Encode()
}

// failuresPage is what the page of failures shows.
type failuresPage struct {
	Query failureQuery
	// Total counts all that match.
	Total  int64
	Kinds  []option
	Times  []option
	Groups []failureGroup
	// Letters are one page of those that match, newest first.
	Letters []failure
	// Fields are the hidden fields of the form.
	Fields url.Values
	// Filtered reports that not all failures are selected; All is the link to all.
	Filtered bool
	All      string
	// WithoutCause and WithoutJob are links that remove one condition. Newest and Older are
	// links to other pages.
	WithoutCause, WithoutJob, Newest, Older string
	// Live is the URL of New; empty on older pages.
	Live string
	New  newFailures
}

// newFailures are the failures since a page was rendered.
type newFailures struct {
	Count int64
	Link  string
}

// option is an entry of a select element.
type option struct {
	Value, Name string
	Selected    bool
}

// failureGroup is a group of failures with the same cause.
type failureGroup struct {
	store.DeadLetterGroup
	KindName, Link string
	Fields         url.Values
}

// failure is one dead letter.
type failure struct {
	store.DeadLetter
	KindName string
	// Tries counts its attempts.
	Tries int
	// JobName is what the job is called.
	JobName string
}

// failures returns dead letters with the names of their jobs.
func (d *dashboard) failures(r *http.Request, letters []store.DeadLetter) (list []failure, err error) {
	keys := make([]tasks.JobKey, len(letters))
	for i, letter := range letters {
		keys[i] = letter.Job
	}
	rows, err := d.cfg.Store.JobRows(r.Context(), keys)
	jobs := byKey(rows)
	for _, letter := range letters {
		shown := newFailure(letter)
		if row, found := jobs[letter.Job]; found {
			shown.JobName = jobCard{JobRow: row}.Name()
		}
		list = append(list, shown)
	}
	return list, err
}

func newFailure(letter store.DeadLetter) failure {
	tries := len(letter.Failures)
	letter.Error = withoutLinkSecrets(letter.Error)
	for i, failed := range letter.Failures {
		tries = max(tries, failed.Attempt)
		letter.Failures[i].Error = withoutLinkSecrets(failed.Error)
	}
	return failure{letter, kindName(letter.Task.Kind), tries, letter.Job.ID}
}

func kindName(kind tasks.Kind) string { return cmp.Or(kindNames[kind], string(kind)) }

// showFailures shows the failures grouped by cause, and a page of those that match.
func (d *dashboard) showFailures(w http.ResponseWriter, r *http.Request) {
	now, values := time.Now(), r.URL.Query()
	query := readFailureQuery(values)
	query.Until = ""
	filter, err := query.filter(now)
	if err != nil {
		d.showUnreadableFilter(w, r, err)
		return
	}
	page, err := d.readFailures(r, query, filter, now, values.Get("below"))
	if err != nil {
		d.showError(w, r, err)
		return
	}
	d.show(w, r, view{Name: "failures", Title: "Failures", Section: "/failures", Data: page})
}

func (d *dashboard) showUnreadableFilter(w http.ResponseWriter, r *http.Request, err error) {
	d.showProblem(w, r, http.StatusBadRequest, "This filter cannot be read", title(err)+".")
}

func (d *dashboard) readFailures(r *http.Request, query failureQuery, filter store.DeadLetterFilter, now time.Time, below string) (page failuresPage, err error) {
	page = failuresPage{Query: query, Kinds: kindOptions(query.Kind), Times: timeOptions(query.Since), Filtered: query != failureQuery{}, All: d.failuresLink(failureQuery{})}
	if page.Total, err = d.cfg.Store.CountDeadLetters(r.Context(), filter); err != nil {
		return page, err
	}
	dated := query
	dated.Until = now.UTC().Format(time.RFC3339Nano)
	page.Fields = dated.values()
	if query.Cause == "" {
		if page.Groups, err = d.groups(r, dated, filter); err != nil {
			return page, err
		}
	}
	filter.Newest, filter.Outline, filter.Failures, filter.Limit = true, true, true, failuresPerPage+1
	filter.Below, _ = strconv.ParseInt(below, 10, 64) // else the first page
	letters, err := d.cfg.Store.DeadLetters(r.Context(), filter)
	if err != nil {
		return page, err
	}
	if len(letters) > failuresPerPage {
		letters = letters[:failuresPerPage]
		page.Older = d.failuresLink(query, "below", strconv.FormatInt(letters[failuresPerPage-1].ID, 10))
	}
	if filter.Below > 0 {
		page.Newest = d.failuresLink(query)
	} else {
		values := query.values()
		if len(letters) > 0 {
			values.Set("after", strconv.FormatInt(letters[0].ID, 10))
		}
		page.Live = d.cfg.Prefix + "/failures/new?" + values.Encode()
	}
	if page.Letters, err = d.failures(r, letters); err != nil {
		return page, err
	}
	withoutCause, withoutJob := query, query
	withoutCause.Cause, withoutJob.Job, withoutJob.Platform = "", "", ""
	page.WithoutCause, page.WithoutJob = d.failuresLink(withoutCause), d.failuresLink(withoutJob)
	return page, nil
}

// serveNewFailures serves, for scripts, how many failures are newer than those of a page.
func (d *dashboard) serveNewFailures(w http.ResponseWriter, r *http.Request) {
	values := r.URL.Query()
	query := readFailureQuery(values)
	filter, err := query.filter(time.Now())
	if err != nil {
		d.showUnreadableFilter(w, r, err)
		return
	}
	filter.After, _ = strconv.ParseInt(values.Get("after"), 10, 64) // else all
	n, err := d.cfg.Store.CountDeadLetters(r.Context(), filter)
	if err != nil {
		d.showError(w, r, err)
		return
	}
	d.showPart(w, r, "failures", "new-failures", newFailures{n, d.failuresLink(query)})
}

func (d *dashboard) groups(r *http.Request, query failureQuery, filter store.DeadLetterFilter) (list []failureGroup, err error) {
	groups, err := d.cfg.Store.DeadLetterGroups(r.Context(), filter)
	for _, group := range groups {
		query.Kind, query.Cause = string(group.Kind), group.Cause
		group.Example.Error = withoutLinkSecrets(group.Example.Error)
		list = append(list, failureGroup{group, kindName(group.Kind), d.failuresLink(query), query.values()})
	}
	return list, err
}

func kindOptions(selected string) []option {
	list := []option{{"", "All work", selected == ""}}
	for _, policy := range tasks.Policies() {
		list = append(list, option{string(policy.Kind), kindName(policy.Kind), selected == string(policy.Kind)})
	}
	return list
}

func timeOptions(selected string) []option {
	list := []option{{"", "Any time", false}, {"1h", "Last hour", false}, {"24h", "Last day", false}, {"168h", "Last week", false}}
	for i := range list {
		list[i].Selected = list[i].Value == selected
	}
	return list
}

// endFailures replays or discards failures. Discarding needs confirmation in a second form.
func (d *dashboard) endFailures(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, maxFailuresForm)
	if err := r.ParseForm(); err != nil {
		d.showProblem(w, r, http.StatusBadRequest, "The form could not be read", "Try again.")
		return
	}
	now, form := time.Now(), r.PostForm
	action, scope, _ := strings.Cut(form.Get("do"), " ")
	if action != string(replayLetters) && action != string(discardLetters) {
		d.showProblem(w, r, http.StatusBadRequest, "The form could not be read", "It says neither replay nor discard.")
		return
	}
	filter, err := readFailureQuery(form).filter(now)
	if err != nil {
		d.showUnreadableFilter(w, r, err)
		return
	}
	if scope != "all" {
		filter = store.DeadLetterFilter{IDs: idsOf(form["id"])}
		if len(filter.IDs) == 0 {
			d.showProblem(w, r, http.StatusBadRequest, "Nothing is selected", "Tick the failures first.")
			return
		}
	}
	total, err := d.cfg.Store.CountDeadLetters(r.Context(), filter)
	switch {
	case err != nil:
		d.showError(w, r, err)
		return
	case total == 0:
		d.showProblem(w, r, http.StatusNotFound, "Nothing to do", "These failures are not open any more.")
		return
	case action == string(discardLetters) && form.Get("confirmed") == "":
		d.show(w, r, view{Name: "confirm", Title: "Discard failures", Section: "/failures", Data: newConfirmation(form, total, filter, d.cfg.Prefix)})
		return
	}
	started, err := d.runs.start(r.Context(), letterAction(action), filter, total)
	if errors.Is(err, errStopping) {
		d.showProblem(w, r, http.StatusServiceUnavailable, "klinghook admin is stopping", "Nothing was changed. Try again when it is back.")
		return
	}
	if errors.Is(err, errBusy) {
		d.show(w, r, view{Name: "busy", Title: "Another run is under way", Section: "/failures", Status: http.StatusConflict, Data: newRunPageData(started, d.cfg.Prefix)})
		return
	}
	http.Redirect(w, r, d.cfg.Prefix+"/failures/runs/"+started.ID, http.StatusSeeOther)
}

// confirmation asks whether to discard failures.
type confirmation struct {
	Total int64
	Form  url.Values
	// Selected says which failures, as pairs of a name and a value; Back is the link to them.
	Selected []fact
	Back     string
}

func newConfirmation(form url.Values, total int64, filter store.DeadLetterFilter, prefix string) confirmation {
	ask := confirmation{Total: total, Form: form, Back: prefix + readFailureQuery(form).path()}
	if len(filter.IDs) > 0 {
		return ask
	}
	for _, f := range []fact{{"Work", kindNames[filter.Kind]}, {"Cause", filter.Cause}, {"Text", filter.Text}, {"Job", filter.Job.ID}} {
		if f.Value != "" {
			ask.Selected = append(ask.Selected, f)
		}
	}
	if !filter.Since.IsZero() {
		ask.Selected = append(ask.Selected, fact{"Since", filter.Since})
	}
	return ask
}

// idsOf returns the ids of dead letters in a form.
func idsOf(texts []string) (ids []int64) {
	for _, text := range texts {
		if id, err := strconv.ParseInt(text, 10, 64); err == nil && len(ids) < 10*failuresPerPage {
			ids = append(ids, id)
		}
	}
	return ids
}
