package dashboard

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"github.com/klinghook/klinghook/internal/store"
	"github.com/klinghook/klinghook/tasks"
)

const (
	// maxRawEvents is how many raw events a job's page shows: the newest.
	maxRawEvents = 20
	// maxRawEvent is how much of one it shows, in characters.
	maxRawEvent = 20_000
	// maxReplays is how many failures of a job are replayed at once.
	maxReplays = 1000
)

// jobPage is the data of a job's page.
type jobPage struct {
	JobDetail
	Card     jobCard
	Files    []jobFile
	Timeline []moment
	Raw      []rawEvent
	// Open counts the open dead letters.
	Open int
	// Metadata is the program's own object, indented.
	Metadata string
}

// jobFile is a file of a job. Kind is the element that shows it: "video", "image" or
// "audio"; empty if there is none.
type jobFile struct {
	store.Media
	Kind, Path, Poster string
	// Note is a caption.
	Note string
	// Error is without the secrets in links.
	Error string
}

// rawEvent is an event with its body.
type rawEvent struct {
	Event
	Body string
	// Cut reports that Body is only the start.
	Cut bool
}

// serveJob serves a job's page.
func (d *dashboard) serveJob(w http.ResponseWriter, r *http.Request) {
	data, err := d.jobPage(r, jobOf(r))
	if errors.Is(err, store.ErrNotFound) {
		d.showProblem(w, r, http.StatusNotFound, "No such job", "klinghook has no job with this ID: it was erased, or nothing about it has arrived.")
		return
	}
	if err != nil {
		d.showError(w, r, err)
		return
	}
	d.show(w, r, view{Name: "job", Title: data.Card.Name(), Section: "/", Data: data})
}

func (d *dashboard) jobPage(r *http.Request, key tasks.JobKey) (page jobPage, err error) {
	detail, events, err := d.detail(r.Context(), key)
	if err != nil {
		return page, err
	}
	page.JobDetail = detail
	rows, err := d.cfg.Store.JobRows(r.Context(), []tasks.JobKey{key})
	if err == nil && len(rows) == 0 { // erased meanwhile
		err = store.ErrNotFound
	}
	if err != nil {
		return page, err
	}
	page.Card, page.Open = d.card(rows[0]), rows[0].OpenDeadLetters
	page.Card.Error = page.Error
	for _, file := range rows[0].Media {
		page.Files = append(page.Files, d.jobFile(file, page.Card))
	}
	page.Timeline = timeline(page.JobDetail, rows[0].Media)
	if len(page.Job.Metadata) > 0 {
		var out bytes.Buffer
		if json.Indent(&out, page.Job.Metadata, "", "  ") == nil {
			page.Metadata = out.String()
		}
	}
	page.Raw = rawEvents(detail.Events, events)
	return page, nil
}

func (d *dashboard) jobFile(file store.Media, card jobCard) jobFile {
	shown := jobFile{Media: file, Error: withoutLinkSecrets(file.Error)}
	if file.Object == "" {
		return shown
	}
	shown.Path = d.filePath(file)
	switch tasks.KindOfMedia(file.Name) {
	case tasks.MediaVideo, tasks.MediaWatermark:
		shown.Kind, shown.Poster = "video", card.Poster
	case tasks.MediaThumbnail:
		if card.Video == "" {
			shown.Kind, shown.Note = "image", "The thumbnail."
		}
	case tasks.MediaImage:
		shown.Kind = "image"
	case tasks.MediaAudio, tasks.MediaVoice:
		shown.Kind = "audio"
	case tasks.MediaElement: // any of the above or JSON
	}
	return shown
}

// rawEvents returns the newest of a job's events with their bodies. stored are the same
// events.
func rawEvents(events []Event, stored []store.StoredEvent) (list []rawEvent) {
	for i, event := range events[:min(len(events), maxRawEvents)] {
		text := pretty(stored[i].Body)
		body := clip(maxRawEvent, text)
		list = append(list, rawEvent{Event: event, Body: body, Cut: len(body) < len(text)})
	}
	return list
}

// routeJob serves a job's page, its files and its forms.
func (d *dashboard) routeJob(mux *http.ServeMux) {
	d.routePage(mux, "GET", "/jobs/{id}", d.serveJob)
	d.routePage(mux, "GET", "/jobs/{id}/media/{name}", d.serveMedia)
	for name, action := range map[string]jobAction{
		"refresh":  func(r *http.Request, job tasks.JobKey) (int, error) { return 1, d.refresh(r.Context(), job) },
		"download": func(r *http.Request, job tasks.JobKey) (int, error) { return d.download(r.Context(), job, "") },
		"notify":   func(r *http.Request, job tasks.JobKey) (int, error) { return d.notify(r.Context(), job, nil) },
		"erase":    func(r *http.Request, job tasks.JobKey) (int, error) { return 1, d.erase(r.Context(), job) },
		"replay":   d.replayJob,
	} {
		d.routePage(mux, "POST", "/jobs/{id}/"+name, d.changes(d.act(name, action)))
	}
}

// jobAction does something with a job and returns how many tasks it queued.
type jobAction func(r *http.Request, job tasks.JobKey) (int, error)

// act handles a form of a job's page, and shows the page again.
func (d *dashboard) act(name string, action jobAction) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		job := jobOf(r)
		n, err := action(r, job)
		switch {
		case err != nil:
			d.showError(w, r, err)
		case name == "erase":
			d.goTo(w, r, "/", name, 1)
		default:
			d.goTo(w, r, jobPath(job, ""), name, n)
		}
	}
}

// replayJob runs the failed tasks of a job again.
func (d *dashboard) replayJob(r *http.Request, job tasks.JobKey) (int, error) {
	result, err := d.endLetters(r.Context(), replayLetters, store.DeadLetterFilter{Job: job, Limit: maxReplays})
	if err == nil && len(result.Failed) > 0 {
		err = problemf(http.StatusConflict, "%d of %d failures could not be replayed: %s", len(result.Failed), len(result.Failed)+result.Ended, result.Failed[0].Error)
	}
	return result.Ended, err
}

// Facts are the facts of a job that have a value, as pairs of a name and a value.
func (p jobPage) Facts() []fact {
	var facts []fact
	add := func(name string, value any, shown bool) {
		if shown {
			facts = append(facts, fact{name, value})
		}
	}
	text := func(name, value string) { add(name, value, value != "") }
	at := func(name string, value time.Time) { add(name, value, !value.IsZero()) }
	text("ID", p.ID)
	text("Your ID", p.ExternalID)
	text("Model", p.Model)
	text("Source", sourceName(p.Source))
	add("Length", length(p.Card.Duration), p.Card.Duration > 0)
	text("Cost", p.Card.Cost)
	if p.ExpectedCost != nil {
		add("Expected cost", p.ExpectedCost.String(), len(p.Costs) > 0)
	}
	at("Created", p.CreatedAt)
	at("Started", p.StartedAt)
	at("Finished", p.FinishedAt)
	from := p.StartedAt
	if from.IsZero() {
		from = p.CreatedAt
	}
	add("Generated in", took(p.FinishedAt.Sub(from)), !from.IsZero() && p.FinishedAt.After(from))
	at("First seen", p.FirstReceivedAt)
	at("Last update", p.LastReceivedAt)
	add("Look-ups", p.Lookups.Asked, p.Lookups.Asked > 0)
	at("Next look-up", p.Lookups.NextAt)
	return facts
}

// fact is a name and a text, a number or a time.
type fact struct {
	Name  string
	Value any
}

// IsTime reports whether the value is a time.
func (f fact) IsTime() bool {
	_, is := f.Value.(time.Time)
	return is
}
