package dashboard

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/klinghook/klinghook/internal/store"
	"github.com/klinghook/klinghook/tasks"
)

const (
	// runLife is how long the result of a run is kept.
	runLife = time.Hour
	// letterTimeout limits the replay of one dead letter.
	letterTimeout = 30 * time.Second
	// runErrors and runJobs are how many errors and jobs of a run are shown.
	runErrors, runJobs = 20, 5
	// maxAgain is how many new dead letters are searched for work that failed again.
	maxAgain = 2000
)

// errBusy reports that another run is in progress, errStopping that the process is
// stopping.
var (
	errBusy     = errors.New("another run is in progress")
	errStopping = errors.New("the process is stopping")
)

// run replays or discards dead letters in the background.
type run struct {
	ID      string
	Action  letterAction
	Total   int64
	Started time.Time

	mu    sync.Mutex // guards state
	state runState
}

// runState is the progress of a run.
type runState struct {
	// Done and Failed count the dead letters so far.
	Done   int64 `json:"done"`
	Failed int64 `json:"failed"`
	// Ended is zero while it runs. Stopped reports that it ended early.
	Ended   time.Time `json:"ended,omitzero"`
	Stopped bool      `json:"stopped,omitempty"`
	// Errors are the first errors, and Jobs the first jobs.
	Errors []string       `json:"-"`
	Jobs   []tasks.JobKey `json:"-"`
	// work has the [tasks.WorkID] of each dead letter that was ended.
	work map[string]bool
}

func (r *run) now() runState {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.state
}

func (r *run) change(change func(*runState)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	change(&r.state)
}

// runs are the runs of this process, one at a time.
type runs struct {
	dashboard *dashboard

	mu      sync.Mutex // guards the fields below
	byID    map[string]*run
	current *run
	running sync.WaitGroup

	stopped atomic.Bool // set by close
}

func newRuns(d *dashboard) *runs {
	return &runs{dashboard: d, byID: map[string]*run{}}
}

// start starts a run of total dead letters, which continues after ctx ends. If another run
// is in progress, start returns that run and errBusy.
func (s *runs) start(ctx context.Context, action letterAction, filter store.DeadLetterFilter, total int64) (*run, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped.Load() {
		return nil, errStopping
	}
	if s.current != nil && s.current.now().Ended.IsZero() {
		return s.current, errBusy
	}
	for id, old := range s.byID {
		if time.Since(old.now().Ended) > runLife {
			delete(s.byID, id)
		}
	}
	r := &run{ID: rand.Text(), Action: action, Total: total, Started: time.Now(), state: runState{work: map[string]bool{}}}
	s.byID[r.ID], s.current = r, r
	ctx = context.WithoutCancel(ctx)
	s.running.Go(func() { s.work(ctx, r, filter) })
	return r, nil
}

// find returns a run, or nil.
func (s *runs) find(id string) *run {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.byID[id]
}

// close lets a run finish its current dead letter. The others stay open.
func (s *runs) close() {
	s.mu.Lock()
	s.stopped.Store(true)
	s.mu.Unlock()
	s.running.Wait()
}

// work ends the dead letters. A failure does not stop the others.
func (s *runs) work(ctx context.Context, r *run, filter store.DeadLetterFilter) {
	for letter, err := range s.dashboard.cfg.Store.EachDeadLetter(ctx, filter) {
		if err != nil {
			r.change(func(state *runState) { state.Errors, state.Stopped = append(state.Errors, err.Error()), true })
			break
		}
		if s.stopped.Load() {
			break
		}
		s.end(ctx, r, letter)
	}
	r.change(func(state *runState) {
		state.Ended = time.Now()
		state.Stopped = state.Stopped || s.stopped.Load()
		s.dashboard.cfg.Log.Info("run of dead letters ended", zap.String("action", string(r.Action)), zap.Int64("total", r.Total),
			zap.Int64("done", state.Done), zap.Int64("failed", state.Failed), zap.Bool("stopped", state.Stopped), zap.Duration("duration", state.Ended.Sub(r.Started)))
	})
}

// end replays or discards one dead letter.
func (s *runs) end(ctx context.Context, r *run, letter store.DeadLetter) {
	ctx, cancel := context.WithTimeout(ctx, letterTimeout)
	defer cancel()
	ended, err := s.dashboard.endLetter(ctx, r.Action, letter.ID)
	r.change(func(state *runState) {
		if err != nil {
			state.Failed++
			if len(state.Errors) < runErrors {
				state.Errors = append(state.Errors, withoutLinkSecrets(err.Error()))
			}
		}
		if !ended { // or it ended meanwhile
			return
		}
		state.Done++
		state.work[tasks.WorkID(letter.Task.ID)] = true
		if letter.Job.ID != "" && len(state.Jobs) < runJobs {
			state.Jobs = append(state.Jobs, letter.Job)
		}
	})
}

// runPageData is the data of the page of a run.
type runPageData struct {
	*run
	runState
	Text, ProgressPath string
	// First are the first jobs.
	First []jobCard
	// Again counts the dead letters of work that was replayed and has failed again. More
	// reports that there may be more.
	Again int
	More  bool
}

func newRunPageData(r *run, prefix string) runPageData {
	state := r.now()
	return runPageData{run: r, runState: state, Text: runText(r, state), ProgressPath: prefix + "/failures/runs/" + r.ID + "/progress"}
}

// failedAgain counts the work of a run that has failed again.
func (d *dashboard) failedAgain(ctx context.Context, r *run) (n int, more bool, err error) {
	letters, err := d.cfg.Store.DeadLetters(ctx, store.DeadLetterFilter{Since: r.Started, Newest: true, Outline: true, Limit: maxAgain})
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, letter := range letters {
		if r.state.work[tasks.WorkID(letter.Task.ID)] {
			n++
		}
	}
	return n, len(letters) == maxAgain, err
}

// runText describes the progress of a run.
func runText(r *run, state runState) string {
	verb := map[letterAction]string{replayLetters: "queued again", discardLetters: "discarded"}[r.Action]
	text := fmt.Sprintf("%s of %s %s", count(state.Done), count(r.Total), verb)
	if state.Failed > 0 {
		text += fmt.Sprintf(", %s not", count(state.Failed))
	}
	if state.Stopped {
		text += ". It stopped early; the rest is still open"
	}
	return text + "."
}

// showRun shows the progress of a run.
func (d *dashboard) showRun(w http.ResponseWriter, r *http.Request) {
	found := d.runs.find(r.PathValue("id"))
	if found == nil {
		d.showProblem(w, r, http.StatusNotFound, "Unknown run", "It ended more than an hour ago, or another process of klinghook admin has it. Failures that are still open are on the page Failures.")
		return
	}
	title := map[letterAction]string{replayLetters: "Replay failures", discardLetters: "Discard failures"}[found.Action]
	data := newRunPageData(found, d.cfg.Prefix)
	if found.Action == replayLetters && !data.Ended.IsZero() {
		var err error
		if data.Again, data.More, err = d.failedAgain(r.Context(), found); err != nil {
			d.showError(w, r, err)
			return
		}
	}
	rows, err := d.cfg.Store.JobRows(r.Context(), data.Jobs)
	if err != nil {
		d.showError(w, r, err)
		return
	}
	jobs := byKey(rows)
	for _, key := range data.Jobs {
		row := jobs[key]
		row.Key = key // a job may have no row
		data.First = append(data.First, jobCard{JobRow: row})
	}
	d.show(w, r, view{Name: "run", Title: title, Section: "/failures", Data: data})
}

// serveRunProgress serves the progress of a run as JSON.
func (d *dashboard) serveRunProgress(w http.ResponseWriter, r *http.Request) {
	found := d.runs.find(r.PathValue("id"))
	if found == nil {
		http.Error(w, "unknown run", http.StatusNotFound)
		return
	}
	state := found.now()
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	_ = json.NewEncoder(w).Encode(struct { // The browser may have gone.
		Total int64  `json:"total"`
		Text  string `json:"text"`
		runState
	}{found.Total, runText(found, state), state})
}
