package simulate

import (
	"fmt"
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
	defaultPageSize = 30
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
	if j == nil || j.kind != kind {
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
		if j.kind != kind {
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
		if j := find(id); j != nil && !slices.Contains(found, j) {
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
	data := []any{}
	for _, j := range jobs {
		v := s.view(j, time.Now())
		data = append(data, v.drifted(v.official()))
	}
	if len(jobs) != 1 {
		return answer{data: data}
	}
	a := answer{data: data, numbers: jobs[0].fate.drift.numbers}
	if jobs[0].fate.drift.data {
		a.data = data[0]
	}
	return a
}

// listNew is POST /tasks, the newest jobs first.
func (s *Simulator) listNew(r *http.Request) (answer, *fault) {
	if refused := s.lookup(); refused != nil {
		return answer{}, refused
	}
	var asked struct {
		StartTime int64 `json:"start_time"` // milliseconds, as all times in the API
		EndTime   int64 `json:"end_time"`
		Cursor    loose `json:"cursor"`
		Limit     int   `json:"limit"`
		Filters   struct {
			Status string `json:"status"`
		} `json:"filters"`
	}
	if refused := decode(r, &asked); refused != nil {
		return answer{}, refused
	}
	if asked.Limit == 0 {
		asked.Limit = defaultPageSize
	}
	if asked.Limit < 1 || asked.Limit > maxPage {
		return answer{}, codeParameterValue.fault(fmt.Sprintf("limit is not a number from 1 to %d", maxPage))
	}
	before := ^uint64(0)
	if asked.Cursor != "" {
		last := s.book.find(string(asked.Cursor))
		if last == nil {
			return answer{}, codeParameterValue.fault("cursor is not the id of a task")
		}
		before = last.number
	}
	now := time.Now()
	var found []*job
	for j := range s.book.newestFirst {
		created := j.created().UnixMilli()
		v := view{job: j, moment: j.asOf(now)}
		switch {
		case j.number >= before, created < asked.StartTime, asked.EndTime != 0 && created > asked.EndTime:
		case asked.Filters.Status != "" && asked.Filters.Status != v.officialStatus("succeeded"):
		default:
			found = append(found, j)
		}
		if len(found) > asked.Limit {
			break
		}
	}
	if len(found) <= asked.Limit {
		return s.answerNew(found), nil
	}
	found = found[:asked.Limit]
	a := s.answerNew(found)
	a.cursor = found[len(found)-1].id
	return a, nil
}
