package simulate

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	// maxBody is the longest body of a call, in bytes. It may contain images.
	maxBody = 16 << 20
	// maxBatch is how many jobs one look-up may ask for, as Kling documents it.
	maxBatch = 20
)

// answer is the answer to a call that succeeded.
type answer struct {
	data any
	// numbers reports that the envelope has its numbers as strings.
	numbers bool
}

// call is a call of the API.
type call func(*http.Request) (answer, *fault)

func (s *Simulator) routes() *http.ServeMux {
	mux := http.NewServeMux()
	api := func(pattern string, f form, c call) { mux.Handle(pattern, s.api(f, c)) }
	for _, kind := range []string{
		"text2video", "image2video", "omni-video", "motion-control", "multi-image2video", "multi-elements", "video-extend",
		"avatar/image2video", "lip-sync", "advanced-lip-sync", "effects",
	} {
		api("POST /v1/videos/"+kind, legacyForm, func(r *http.Request) (answer, *fault) { return s.createLegacy(r, kind) })
		api("GET /v1/videos/"+kind+"/{id}", legacyForm, func(r *http.Request) (answer, *fault) { return s.lookUpLegacy(r, kind) })
	}
	for _, kind := range []string{"text-to-video", "image-to-video", "omni-video", "motion-control"} {
		api("POST /"+kind+"/{model}", newForm, func(r *http.Request) (answer, *fault) { return s.createNew(r, kind) })
	}
	api("GET /tasks", newForm, s.lookUpNew)
	api("/", legacyForm, func(*http.Request) (answer, *fault) {
		return answer{}, codeMethod.fault("there is no such method; see `klinghook simulate --help`")
	})
	mux.HandleFunc("GET /media/{id}/{file}", s.serveMedia)
	mux.HandleFunc("GET /simulator/stats", s.serveStats)
	return mux
}

// api makes a call a handler: credentials first, then simulated trouble, then the call.
func (s *Simulator) api(f form, c call) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		number := s.calls.Add(1)
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		a, refused := answer{}, s.cfg.authorize(r.Header, f, time.Now())
		if code := s.cfg.trouble(number); code != 0 && refused == nil {
			refused = code.fault("simulated trouble")
		}
		if refused == nil {
			a, refused = c(r)
		}
		envelope := map[string]any{"code": 0, "message": "SUCCEED", "request_id": fmt.Sprintf("sim-%d", number), "data": a.data}
		if a.numbers {
			envelope["code"] = "0"
		}
		w.Header().Set("Content-Type", "application/json")
		if refused != nil {
			s.count(func(stats *Stats) { stats.Refused[strconv.Itoa(int(refused.code))]++ })
			envelope = map[string]any{"code": refused.code, "message": refused.message, "request_id": envelope["request_id"]}
			w.WriteHeader(refused.code.status())
		}
		text, _ := encode(envelope) // maps of strings and numbers
		_, _ = w.Write(text)        // the client may be gone
	})
}

// decode reads the body of a call.
func decode(r *http.Request, into any) *fault {
	err := json.NewDecoder(r.Body).Decode(into)
	var tooLong *http.MaxBytesError
	switch {
	case err == nil, errors.Is(err, io.EOF):
		return nil // the handler reports missing fields
	case errors.As(err, &tooLong):
		return codeParameters.fault(fmt.Sprintf("the body is longer than %d bytes", maxBody))
	}
	return codeParameters.fault("the body is not valid: " + err.Error())
}

// lookup counts a look-up, and refuses it if there are too many.
func (s *Simulator) lookup() *fault {
	if !s.lookups.Allow() {
		return codeRate.fault("too many requests; try again after 1 s")
	}
	s.count(func(stats *Stats) { stats.Lookups.Answered++ })
	return nil
}

// lookUpLegacy is GET /v1/videos/{kind}/{id}.
func (s *Simulator) lookUpLegacy(r *http.Request, kind string) (answer, *fault) {
	if refused := s.lookup(); refused != nil {
		return answer{}, refused
	}
	job := s.find(r.PathValue("id"), r.PathValue("id"))
	if job == nil || job.form != legacyForm || job.kind != kind {
		return answer{}, codeNotFound.fault("there is no such task of " + kind)
	}
	a := answer{data: s.lookedUp(job).legacy(), numbers: job.fate.drift.numbers}
	if job.fate.drift.data {
		a.data = []any{a.data}
	}
	return a, nil
}

// lookUpNew is GET /tasks. Unknown ids are left out of the answer.
func (s *Simulator) lookUpNew(r *http.Request) (answer, *fault) {
	if refused := s.lookup(); refused != nil {
		return answer{}, refused
	}
	split := func(name string) []string {
		return slices.DeleteFunc(strings.Split(r.URL.Query().Get(name), ","), func(id string) bool { return id == "" })
	}
	ids, external := split("task_ids"), split("external_task_ids")
	switch n := len(ids) + len(external); {
	case n == 0, len(ids) > 0 && len(external) > 0:
		return answer{}, codeParameters.fault("give task_ids or external_task_ids")
	case n > maxBatch:
		return answer{}, codeParameterValue.fault(fmt.Sprintf("%d ids; at most %d are allowed", n, maxBatch))
	}
	var found []*job
	add := func(j *job) {
		if j != nil && j.form == newForm && !slices.Contains(found, j) {
			found = append(found, j)
		}
	}
	for _, id := range ids {
		add(s.find(id, ""))
	}
	for _, id := range external {
		add(s.find("", id))
	}
	data := []any{}
	for _, job := range found {
		data = append(data, s.lookedUp(job).official())
	}
	a := answer{data: data}
	if len(found) == 1 { // an answer about one job may drift like that job
		a.numbers = found[0].fate.drift.numbers
		if found[0].fate.drift.data {
			a.data = data[0]
		}
	}
	return a, nil
}

// lookedUp reports a job as it is now, with new links.
func (s *Simulator) lookedUp(j *job) Update {
	now := time.Now()
	change := j.asOf(now)
	if change.Status == Succeeded && (j.fate.deadLink != 0 || now.After(change.at.Add(s.cfg.LinkTTL))) {
		s.count(func(stats *Stats) { stats.Lookups.LinksRefreshed++ })
	}
	return s.update(j, change, byLookup, now)
}
