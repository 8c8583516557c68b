package store

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"

	"github.com/klinghook/klinghook/tasks"
)

// givenLink is a link to a file and the event that gave it.
type givenLink struct {
	*entry
	tasks.MediaLink
}

// file identifies the file. Names contain no colon.
func (g givenLink) file() string { return g.Update.JobID + ":" + g.Name }

// addMedia adds the events' links to their files and lists the pending media of these
// jobs.
func (r *recorder) addMedia(ctx context.Context, list []*entry) error {
	var links []givenLink
	var jobs []string
	for _, e := range list {
		if e.Update == nil || len(e.Update.Media) == 0 {
			continue
		}
		jobs = append(jobs, e.Update.JobID)
		for _, link := range e.Update.Media {
			links = append(links, givenLink{e, link})
		}
	}
	if len(links) == 0 {
		return nil
	}
	slices.SortStableFunc(links, func(a, b givenLink) int {
		return cmp.Or(cmp.Compare(a.Update.JobID, b.Update.JobID), cmp.Compare(a.Name, b.Name))
	})
	if err := r.addLinks(ctx, links); err != nil {
		return err
	}
	var w where
	andIn(&w, "job_id", jobs)
	// The state is checked here: in the query, it would tempt PostgreSQL to scan the index
	// of all pending media. The same goes for notifications.
	media, err := queryMedia(ctx, r.tx, w.String()+` ORDER BY job_id, name`, w.args...)
	if err != nil {
		return fmt.Errorf("read media: %w", err)
	}
	for _, e := range list {
		for _, m := range media {
			if e.Update != nil && len(e.Update.Media) > 0 && e.Update.JobID == m.JobID && m.State == MediaPending {
				e.owed.Media = append(e.owed.Media, m)
			}
		}
	}
	return nil
}

// addLinks adds links, sorted by file. The first link to a file without a row creates
// the row.
func (r *recorder) addLinks(ctx context.Context, links []givenLink) error {
	var rows [][]any
	for i, g := range links {
		if i > 0 && links[i-1].file() == g.file() {
			continue
		}
		f := new(linkedFile)
		f.add(g.URL, stampOf(*g.Update))
		text, err := encode(f.links)
		if err != nil {
			return err
		}
		at := r.dialect.time(g.Event.ReceivedAt)
		rows = append(rows, []any{g.Update.JobID, g.Name, g.URL, r.dialect.time(f.linkedAt(g.Event.ReceivedAt)), text, f.state(), at, at})
	}
	inserted, err := insertRows(ctx, r.tx, scanOne[string], `INSERT INTO media (job_id, name, url, linked_at, links, state, created_at, updated_at)`, rows,
		`ON CONFLICT (job_id, name) DO NOTHING RETURNING job_id || ':' || name`)
	if err != nil {
		return fmt.Errorf("insert media: %w", err)
	}
	for i, g := range links {
		if slices.Contains(inserted, g.file()) && (i == 0 || links[i-1].file() != g.file()) {
			continue // in its row already
		}
		err := changeLinks(ctx, r.tx, r.dialect, g.Update.JobID, g.Name, g.Event.ReceivedAt, func(f *linkedFile) {
			from := stampOf(*g.Update)
			if g.Renews == "" {
				f.add(g.URL, from)
				return
			}
			// It is as old as the answer, however long ago the job ended.
			if from.At.Before(g.Event.ReceivedAt) {
				from.At = g.Event.ReceivedAt.UTC()
			}
			f.renew(g.URL, from, g.Renews)
		})
		if err != nil {
			return fmt.Errorf("add link of %s: %w", g.Name, err)
		}
	}
	return nil
}

// addNotifications inserts a notification for each destination and lists the pending
// ones.
func (r *recorder) addNotifications(ctx context.Context, list []*entry) error {
	var owed []Notification
	for _, e := range list {
		for _, destination := range e.Destinations {
			n := notificationOf(e.Event, destination)
			n.CreatedAt = e.Event.ReceivedAt
			owed = append(owed, n)
		}
	}
	if len(owed) == 0 {
		return nil
	}
	slices.SortStableFunc(owed, func(a, b Notification) int { return cmp.Compare(a.ID, b.ID) })
	rows, ids := make([][]any, len(owed)), make([]string, len(owed))
	for i, n := range owed {
		at := r.dialect.time(n.CreatedAt)
		rows[i], ids[i] = []any{n.ID, n.JobID, n.EventID, n.Type, n.Destination, NotificationPending, at, at}, n.ID
	}
	_, err := insertRows(ctx, r.tx, scanOne[string], `INSERT INTO notifications (id, job_id, event_id, type, destination, state, created_at, updated_at)`, rows,
		`ON CONFLICT (id) DO NOTHING RETURNING id`)
	if err != nil {
		return fmt.Errorf("insert notifications: %w", err)
	}
	var w where
	andIn(&w, "id", ids)
	known, err := collect(ctx, r.tx, scanNotification, selectNotification+w.String(), w.args...)
	if err != nil {
		return fmt.Errorf("read notifications: %w", err)
	}
	for _, e := range list {
		for _, destination := range e.Destinations {
			id := notificationOf(e.Event, destination).ID
			i := slices.IndexFunc(known, func(n Notification) bool { return n.ID == id })
			if i >= 0 && known[i].State == NotificationPending {
				e.owed.Notifications = append(e.owed.Notifications, known[i])
			}
		}
	}
	return nil
}

// notificationOf returns the notification of an event for a destination, without state
// and times. That a job was created, completed, failed, was cancelled or lost is sent
// once, however many events say so. Every other event has its own notification.
func notificationOf(ev tasks.Event, destination string) Notification {
	n := Notification{JobID: ev.JobID, Type: ev.Type, Destination: destination}
	once := []string{tasks.TypeCreated, tasks.TypeCompleted, tasks.TypeFailed, tasks.TypeCancelled, tasks.TypeLost}
	if ev.JobID == "" || !slices.Contains(once, ev.Type) {
		n.EventID = ev.ID
	}
	h := sha256.New()
	for _, part := range []string{n.JobID, n.EventID, n.Type, n.Destination} {
		fmt.Fprintf(h, "%d:%s", len(part), part)
	}
	n.ID = "ntf_" + hex.EncodeToString(h.Sum(nil)[:12])
	return n
}
