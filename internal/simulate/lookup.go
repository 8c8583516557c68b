package simulate

import (
	"fmt"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The limits of look-ups, as Kling documents them.
const (
	maxBatch        = 20
	maxPage         = 500
	defaultPageSize = 30  // legacy
	defaultLimit    = 100 // new
)

// lookup counts a look-up, and refuses it when there are too many.
func (s *Simulator) lookup() *fault {
	if !s.lookups.AllowN(time.Now(), 1) {
		return codeRate.fault("too many requests; try again from 1 s on")
	}
	s.count.lookedUp()
	return nil
}

// lookUpLegacy is GET /v1/videos/{kind}/{id}.
func (s *Simulator) lookUpLegacy(r *http.Request, kind string) (answer, *fault) {
	if refused := s.lookup(); refused != nil {
		return answer{}, refused
	}
	j := s.book.find(r.PathValue("id"))
	if j == nil {
		j = s.book.findExternal(r.PathValue("id"))
	}
	if j == nil || j.form != legacyForm || j.kind != kind {
		return answer{}, codeNotFound.fault("there is no such task of " + kind)
	}
	v := s.view(j, time.Now())
	a := answer{data: v.drifted(v.legacy()), numbers: j.fate.drift.numbers}
	if j.fate.drift.data {
		a.data = []any{a.data}
	}
	return a, nil
}

// listLegacy is GET /v1/videos/{kind}, the newest jobs first.
func (s *Simulator) listLegacy(r *http.Request, kind string) (answer, *fault) {
	if refused := s.lookup(); refused != nil {
		return answer{}, refused
	}
	page, err := number(r.URL.Query().Get("pageNum"), 1)
	if err != nil || page < 1 {
		return answer{}, codeParameterValue.fault("pageNum is not a number from 1")
	}
	size, err := number(r.URL.Query().Get("pageSize"), defaultPageSize)
	if err != nil || size < 1 || size > maxPage {
		return answer{}, codeParameterValue.fault(fmt.Sprintf("pageSize is not a number from 1 to %d", maxPage))
	}
	var found []*job
	skip := (page - 1) * size
	for j := range s.book.newestFirst {
		if j.form != legacyForm || j.kind != kind {
			continue
		}
		if skip--; skip < 0 {
			found = append(found, j)
		}
		if len(found) == size {
			break
		}
	}
	data := []any{}
	for _, j := range found {
		v := s.view(j, time.Now())
		data = append(data, v.drifted(v.legacy()))
	}
	return answer{data: data}, nil
}

// number reads a number of a query.
func number(text string, missing int) (int, error) {
	if text == "" {
		return missing, nil
	}
	n, err := strconv.Atoi(text)
	if n > 1<<31 {
		return 0, strconv.ErrRange
	}
	return n, err
}

// lookUpNew is GET /tasks. Ids that no job has are left out of the answer.
func (s *Simulator) lookUpNew(r *http.Request) (answer, *fault) {
	if refused := s.lookup(); refused != nil {
		return answer{}, refused
	}
	query := r.URL.Query()
	ids, external := split(query.Get("task_ids")), split(query.Get("external_task_ids"))
	find := s.book.find
	if len(external) > 0 {
		find = s.book.findExternal
	}
	switch n := len(ids) + len(external); {
	case n == 0, len(ids) > 0 && len(external) > 0:
		return answer{}, codeParameters.fault("give task_ids or external_task_ids")
	case n > maxBatch:
		return answer{}, codeParameterValue.fault(fmt.Sprintf("%d ids are given; %d are the most", n, maxBatch))
	}
	var found []*job
	for _, id := range append(ids, external...) {
		if j := find(id); j != nil && j.form == newForm && !slices.Contains(found, j) {
			found = append(found, j)
		}
	}
	return s.answerNew(found), nil
}

func split(list string) []string {
	return slices.DeleteFunc(strings.Split(list, ","), func(id string) bool { return id == "" })
}

// answerNew tells of jobs in the new form. An answer of one job may drift as that
// job does.
func (s *Simulator) answerNew(jobs []*job) answer {
	data := s.officially(jobs)
	if len(jobs) != 1 {
		return answer{data: data}
	}
	a := answer{data: data, numbers: jobs[0].fate.drift.numbers}
	if jobs[0].fate.drift.data {
		a.data = data[0]
	}
	return a
}

func (s *Simulator) officially(jobs []*job) []any {
	data := []any{}
	for _, j := range jobs {
		v := s.view(j, time.Now())
		data = append(data, v.drifted(v.official()))
	}
	return data
}

// listed is what POST /tasks asks for.
type listed struct {
	StartTime loose `json:"start_time"` // milliseconds since 1970
	EndTime   loose `json:"end_time"`
	Cursor    loose `json:"cursor"`
	Limit     int   `json:"limit"`
	Filters   []struct {
		Key    string   `json:"key"`
		Values []string `json:"values"`
	} `json:"filters"`

	start, end int64
	// before is the number of the last job that the page before had.
	before uint64
}

// read checks the question and completes it.
func (l *listed) read(b *book) *fault {
	if l.Limit == 0 {
		l.Limit = defaultLimit
	}
	var err error
	if l.start, err = millis(l.StartTime, 0); err != nil {
		return codeParameterValue.fault("start_time is no time in milliseconds")
	}
	if l.end, err = millis(l.EndTime, math.MaxInt64); err != nil {
		return codeParameterValue.fault("end_time is no time in milliseconds")
	}
	l.before = math.MaxUint64
	if l.Cursor != "" {
		last := b.find(string(l.Cursor))
		if last == nil {
			return codeParameterValue.fault("cursor is not one of these answers'")
		}
		l.before, l.start, l.end = last.number, 0, math.MaxInt64
	}
	if l.Limit < 1 || l.Limit > maxPage {
		return codeParameterValue.fault(fmt.Sprintf("limit is not a number from 1 to %d", maxPage))
	}
	for _, f := range l.Filters {
		if f.Key != "status" && f.Key != "product_type" {
			return codeParameterValue.fault("filters go by status or product_type")
		}
	}
	return nil
}

func millis(text loose, missing int64) (int64, error) {
	if text == "" {
		return missing, nil
	}
	return strconv.ParseInt(string(text), 10, 64)
}

// wants reports whether a job is one of those asked for.
func (l *listed) wants(j *job, now time.Time) bool {
	created := j.created().UnixMilli()
	if j.form != newForm || j.number >= l.before || created < l.start || created > l.end {
		return false
	}
	is := map[string]string{"status": view{job: j, moment: j.asOf(now)}.officialStatus("succeeded"), "product_type": "video"}
	for _, f := range l.Filters {
		if !slices.Contains(f.Values, is[f.Key]) {
			return false
		}
	}
	return true
}

// listNew is POST /tasks, the newest jobs first. The next page's cursor is the id
// of this one's last job.
func (s *Simulator) listNew(r *http.Request) (answer, *fault) {
	if refused := s.lookup(); refused != nil {
		return answer{}, refused
	}
	var asked listed
	if refused := decode(r, &asked); refused != nil {
		return answer{}, refused
	}
	if refused := asked.read(s.book); refused != nil {
		return answer{}, refused
	}
	now := time.Now()
	var found []*job
	for j := range s.book.newestFirst {
		if asked.wants(j, now) {
			found = append(found, j)
		}
		if len(found) > asked.Limit {
			break
		}
	}
	page := map[string]any{"next_cursor": "", "has_more": len(found) > asked.Limit}
	if len(found) > asked.Limit {
		found = found[:asked.Limit]
		page["next_cursor"] = found[asked.Limit-1].id
	}
	page["result"], page["count"] = s.officially(found), len(found)
	return answer{data: page}, nil
}
