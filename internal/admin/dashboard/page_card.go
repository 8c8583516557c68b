package dashboard

import (
	"cmp"
	"net/http"
	"net/url"
	"strings"

	"github.com/klinghook/klinghook/internal/store"
	"github.com/klinghook/klinghook/tasks"
)

// jobCard is a job in a list.
type jobCard struct {
	store.JobRow
	// Video, Image and Poster are paths of stored files; empty if there are none.
	Video, Image, Poster string
	// Blank is the text of a card without a picture.
	Blank string
	// Missing says why a completed job lacks a file; empty if it does not. MissingState is
	// the CSS class for its colour.
	Missing, MissingState string
	// Cost is what the job cost or is expected to cost.
	Cost string
}

// cards returns the cards of jobs.
func (d *dashboard) cards(rows []store.JobRow) []jobCard {
	cards := make([]jobCard, len(rows))
	for i, row := range rows {
		cards[i] = d.card(row)
	}
	return cards
}

func (d *dashboard) card(row store.JobRow) jobCard {
	card := jobCard{JobRow: row, Cost: costOf(row.Job)}
	pending, failing, failed, deleted := false, false, row.NoMedia != "", false
	for _, file := range row.Media {
		place := map[tasks.MediaKind]*string{tasks.MediaVideo: &card.Video, tasks.MediaImage: &card.Image, tasks.MediaThumbnail: &card.Poster}[tasks.KindOfMedia(file.Name)]
		if file.Object != "" && place != nil {
			*place = cmp.Or(*place, d.filePath(file))
		}
		if tasks.KindOfMedia(file.Name) != tasks.MediaThumbnail {
			pending, failed = pending || file.State == store.MediaPending, failed || file.State == store.MediaFailed
			failing = failing || file.State == store.MediaPending && file.Error != ""
		}
		deleted = deleted || file.State == store.MediaDeleted
	}
	switch {
	case failed:
		card.Missing, card.MissingState = "File missing", "warning"
	case failing:
		card.Missing, card.MissingState = "Download failing", "retry"
	case pending:
		card.Missing, card.MissingState = "Downloading", "running"
	case deleted:
		card.Blank = "Deleted because of its age"
	case row.TestCallback:
		card.Blank = "Test callback"
	case row.Status == tasks.StatusCreated:
		card.Blank = "Waiting for Kling"
	case row.Status == tasks.StatusProcessing:
		card.Blank = "Generating"
	default:
		card.Blank = "No picture"
	}
	card.Blank = cmp.Or(card.Missing, card.Blank)
	return card
}

// filePath returns the path of a stored file. It changes with the file.
func (d *dashboard) filePath(file store.Media) string {
	return withValue(d.cfg.Prefix+jobPath(file.Job, "/media/"+url.PathEscape(file.Name)), "v", file.SHA256[:min(12, len(file.SHA256))])
}

// Busy reports that the job is being generated.
func (c jobCard) Busy() bool { return c.Status == tasks.StatusProcessing }

// Name returns the card's title: the prompt or, without one, the program's id or Kling's.
func (c jobCard) Name() string { return cmp.Or(strings.TrimSpace(c.Prompt), c.ExternalID, c.Key.ID) }

// Pictured reports that there is something to see.
func (c jobCard) Pictured() bool { return c.Video != "" || c.Image != "" || c.Poster != "" }

// costOf returns what a job cost, else what it is expected to cost.
func costOf(job store.Job) string {
	if len(job.Costs) == 0 {
		if job.ExpectedCost.Amount == "" {
			return ""
		}
		return "about " + job.ExpectedCost.String()
	}
	texts := make([]string, len(job.Costs))
	for i, cost := range job.Costs {
		texts[i] = cost.String()
	}
	return strings.Join(texts, ", ")
}

// serveMedia serves a stored file through this process, because the pages load nothing
// from other hosts.
func (d *dashboard) serveMedia(w http.ResponseWriter, r *http.Request) {
	file, err := d.storedFile(r.Context(), jobOf(r), r.PathValue("name"))
	if err != nil {
		d.showError(w, r, err)
		return
	}
	d.sendFile(w, r, file, 0)
}
