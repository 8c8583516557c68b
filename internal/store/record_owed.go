package store

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"

	"github.com/klinghook/klinghook/tasks"
)

// givenLink is a link to a file, and the event that gave it.
type givenLink struct {
	*entry
	link tasks.MediaLink
}

// file is what the link is to: one file of a job.
func (g givenLink) file() fileName { return fileName{g.Update.JobID, g.link.Name} }

type fileName struct{ job, name string }

func scanFileName(row scanner) (f fileName, err error) {
	err = row.Scan(&f.job, &f.name)
	return f, err
}

// oweMedia takes in the updates' links and finds what of these jobs' media is still to
// be fetched.
func (r *recorder) oweMedia(ctx context.Context, list []*entry) error {
	var links []givenLink
	for _, e := range list {
		if e.Update != nil {
			for _, link := range e.Update.Media {
				links = append(links, givenLink{e, link})
			}
		}
	}
	if len(links) == 0 {
		return nil
	}
	slices.SortStableFunc(links, func(a, b givenLink) int {
		return cmp.Or(cmp.Compare(a.Update.JobID, b.Update.JobID), cmp.Compare(a.link.Name, b.link.Name))
	})
	if err := r.takeLinks(ctx, links); err != nil {
		return err
	}
	var jobs []string
	for _, g := range links {
		jobs = append(jobs, g.Update.JobID)
	}
	var w where
	andIn(&w, "job_id", slices.Compact(jobs))
	media, err := queryMedia(ctx, r.tx, w.String()+` AND state = 'pending' ORDER BY job_id, name`, w.args...)
	if err != nil {
		return fmt.Errorf("read media: %w", err)
	}
	byJob := make(map[string][]Media)
	for _, m := range media {
		byJob[m.JobID] = append(byJob[m.JobID], m)
	}
	for _, e := range list {
		if e.Update != nil && len(e.Update.Media) > 0 {
			e.owed.Media = byJob[e.Update.JobID]
		}
	}
	return nil
}

// takeLinks takes links in, which are by file: the first to a file that has no row
// makes it.
func (r *recorder) takeLinks(ctx context.Context, links []givenLink) error {
	var rows [][]any
	for i, g := range links {
		if i > 0 && links[i-1].file() == g.file() {
			continue
		}
		f := new(linkedFile)
		f.take(g.link.URL, stampOf(*g.Update))
		text, err := f.encode()
		if err != nil {
			return err
		}
		at := r.dialect.time(g.Event.ReceivedAt)
		rows = append(rows, []any{g.Update.JobID, g.link.Name, f.current().URL, text, f.state(), at, at})
	}
	list, err := insertRows(ctx, r.tx, scanFileName, `INSERT INTO media (job_id, name, url, links, state, created_at, updated_at)`, rows,
		`ON CONFLICT (job_id, name) DO NOTHING RETURNING job_id, name`)
	if err != nil {
		return fmt.Errorf("insert media: %w", err)
	}
	made := make(map[fileName]bool, len(list))
	for _, f := range list {
		made[f] = true
	}
	for _, g := range links {
		if made[g.file()] {
			delete(made, g.file()) // only its first link is in the row
			continue
		}
		if err := r.takeLink(ctx, g); err != nil {
			return fmt.Errorf("keep link of %s: %w", g.link.Name, err)
		}
	}
	return nil
}

// takeLink takes a link to a file in that has a row.
func (r *recorder) takeLink(ctx context.Context, g givenLink) error {
	d := r.dialect
	if !r.wait {
		d.forUpdate = d.forUpdateFree
	}
	from := stampOf(*g.Update)
	err := changeLinks(ctx, r.tx, d, g.Update.JobID, g.link.Name, g.Event.ReceivedAt, func(f *linkedFile) {
		if g.link.Renews == "" {
			f.take(g.link.URL, from)
			return
		}
		// It is as old as the answer, however long ago the job ended.
		if from.At.Before(g.Event.ReceivedAt) {
			from.At = g.Event.ReceivedAt.UTC()
		}
		f.renew(g.link.URL, from, g.link.Renews)
	})
	if errors.Is(err, ErrNotFound) { // it has a row: that is locked
		return errStoring
	}
	return err
}

// oweNotifications writes a notification for each destination and finds those that are
// still to be sent.
func (r *recorder) oweNotifications(ctx context.Context, list []*entry) error {
	due := make(map[string]Notification) // by ID; several events may say the same
	var first []Notification
	for _, e := range list {
		for _, destination := range e.Destinations {
			n := notificationOf(e.Event, destination)
			if _, ok := due[n.ID]; ok {
				continue
			}
			n.CreatedAt = e.Event.ReceivedAt
			due[n.ID] = n
			first = append(first, n)
		}
	}
	if len(first) == 0 {
		return nil
	}
	slices.SortFunc(first, func(a, b Notification) int { return cmp.Compare(a.ID, b.ID) })
	rows := make([][]any, len(first))
	for i, n := range first {
		at := r.dialect.time(n.CreatedAt)
		rows[i] = []any{n.ID, n.JobID, n.EventID, n.Type, n.Destination, NotificationPending, at, at}
	}
	made, err := insertRows(ctx, r.tx, scanNotification, `INSERT INTO notifications (id, job_id, event_id, type, destination, state, created_at, updated_at)`, rows,
		`ON CONFLICT (id) DO NOTHING RETURNING `+notificationColumns)
	if err != nil {
		return fmt.Errorf("insert notifications: %w", err)
	}
	for _, n := range made {
		due[n.ID] = n
	}
	var there []string
	for id, n := range due {
		if n.State == "" {
			there = append(there, id)
		}
	}
	if len(there) > 0 {
		var w where
		andIn(&w, "id", there)
		known, err := collect(ctx, r.tx, scanNotification, selectNotification+w.String(), w.args...)
		if err != nil {
			return fmt.Errorf("read notifications: %w", err)
		}
		for _, n := range known {
			due[n.ID] = n
		}
	}
	for _, e := range list {
		for _, destination := range e.Destinations {
			if n := due[notificationOf(e.Event, destination).ID]; n.State == NotificationPending {
				e.owed.Notifications = append(e.owed.Notifications, n)
			}
		}
	}
	return nil
}

// notificationOf names what a destination is told because of an event. A job is
// created, completes, fails, is cancelled or is lost once, however many events say so, and
// each is told once. Every other event is told for itself.
func notificationOf(ev tasks.Event, destination string) Notification {
	n := Notification{JobID: ev.JobID, Type: ev.Type, Destination: destination}
	switch {
	case ev.JobID == "":
		n.EventID = ev.ID
	case !slices.Contains([]string{tasks.TypeCreated, tasks.TypeCompleted, tasks.TypeFailed, tasks.TypeCancelled, tasks.TypeLost}, ev.Type):
		n.EventID = ev.ID
	}
	h := sha256.New()
	for _, part := range []string{n.JobID, n.EventID, n.Type, n.Destination} {
		fmt.Fprintf(h, "%d:%s", len(part), part)
	}
	n.ID = "ntf_" + hex.EncodeToString(h.Sum(nil)[:12])
	return n
}
