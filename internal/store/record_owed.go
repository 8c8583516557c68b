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

// givenLink is a link to a file and the event that contains it.
type givenLink struct {
	*entry
	tasks.MediaLink
}

// file identifies the file.
func (g givenLink) file() fileKey { return fileKey{g.Update.Job, g.Name} }

// fileKey identifies a file of a job.
type fileKey struct {
	job  tasks.JobKey
	name string
}

func scanFileKey(row scanner) (key fileKey, err error) {
	err = row.Scan(&key.job.Platform, &key.job.ID, &key.name)
	return key, err
}

// addMedia adds the events' links to their files and lists the pending media of these
// jobs.
func (r *recorder) addMedia(ctx context.Context, list []*entry) error {
	var links []givenLink
	var jobs []tasks.JobKey
	for _, entry := range list {
		if entry.Update == nil || len(entry.Update.Media) == 0 {
			continue
		}
		jobs = append(jobs, entry.Update.Job)
		for _, link := range entry.Update.Media {
			links = append(links, givenLink{entry, link})
		}
	}
	if len(links) == 0 {
		return nil
	}
	slices.SortStableFunc(links, func(a, b givenLink) int {
		return cmp.Or(a.Update.Job.Compare(b.Update.Job), cmp.Compare(a.Name, b.Name))
	})
	if err := r.addLinks(ctx, links); err != nil {
		return err
	}
	var conditions where
	conditions.andJobs("job_id", jobs)
	// The state is checked in Go: in the query, it could make PostgreSQL scan the index
	// of all pending media. The same goes for notifications.
	media, err := queryMedia(ctx, r.tx, conditions.String()+` ORDER BY platform, job_id, name`, conditions.args...)
	if err != nil {
		return fmt.Errorf("read media: %w", err)
	}
	for _, entry := range list {
		for _, file := range media {
			if entry.Update != nil && len(entry.Update.Media) > 0 && entry.Update.Job == file.Job && file.State == MediaPending {
				entry.owed.Media = append(entry.owed.Media, file)
			}
		}
	}
	return nil
}

// addLinks adds links, sorted by file. The first link to a file without a row creates
// the row.
func (r *recorder) addLinks(ctx context.Context, links []givenLink) error {
	var rows [][]any
	for i, link := range links {
		if i > 0 && links[i-1].file() == link.file() {
			continue
		}
		linked := new(linkedFile)
		linked.add(link.URL, stampOf(*link.Update))
		text, err := encode(linked.links)
		if err != nil {
			return err
		}
		at := r.dialect.time(link.Event.ReceivedAt)
		rows = append(rows, []any{link.Update.Job.Platform, link.Update.Job.ID, link.Name, link.URL, r.dialect.time(linked.linkedAt(link.Event.ReceivedAt)), text, linked.state(), at, at})
	}
	inserted, err := insertRows(ctx, r.tx, r.dialect, scanFileKey, `INSERT INTO media (platform, job_id, name, url, linked_at, links, state, created_at, updated_at)`, rows,
		`ON CONFLICT (platform, job_id, name) DO NOTHING RETURNING platform, job_id, name`)
	if err != nil {
		return fmt.Errorf("insert media: %w", err)
	}
	for i, link := range links {
		if slices.Contains(inserted, link.file()) && (i == 0 || links[i-1].file() != link.file()) {
			continue // already in its row
		}
		err := changeLinks(ctx, r.tx, r.dialect, link.Update.Job, link.Name, link.Event.ReceivedAt, func(linked *linkedFile) {
			from := stampOf(*link.Update)
			if link.Renews == "" {
				linked.add(link.URL, from)
				return
			}
			// A fresh link is as old as the answer, even if the job ended long ago.
			if from.At.Before(link.Event.ReceivedAt) {
				from.At = link.Event.ReceivedAt.UTC()
			}
			linked.renew(link.URL, from, link.Renews)
		})
		if err != nil {
			return fmt.Errorf("add link of %s: %w", link.Name, err)
		}
	}
	return nil
}

// addNotifications inserts a notification for each destination and lists the pending
// ones.
func (r *recorder) addNotifications(ctx context.Context, list []*entry) error {
	var owed []Notification
	for _, entry := range list {
		for _, destination := range entry.Destinations {
			notification := notificationOf(entry.Event, destination)
			notification.CreatedAt = entry.Event.ReceivedAt
			owed = append(owed, notification)
		}
	}
	if len(owed) == 0 {
		return nil
	}
	slices.SortStableFunc(owed, func(a, b Notification) int { return cmp.Compare(a.ID, b.ID) })
	rows, ids := make([][]any, len(owed)), make([]string, len(owed))
	for i, notification := range owed {
		at := r.dialect.time(notification.CreatedAt)
		rows[i], ids[i] = []any{notification.ID, notification.Job.Platform, notification.Job.ID, notification.EventID, notification.Type, notification.Destination, NotificationPending, at, at}, notification.ID
	}
	_, err := insertRows(ctx, r.tx, r.dialect, scanOne[string], insertNotification, rows,
		`ON CONFLICT (id) DO NOTHING RETURNING id`)
	if err != nil {
		return fmt.Errorf("insert notifications: %w", err)
	}
	var conditions where
	andIn(&conditions, "id", ids)
	known, err := collect(ctx, r.tx, scanNotification, selectNotification+conditions.String(), conditions.args...)
	if err != nil {
		return fmt.Errorf("read notifications: %w", err)
	}
	for _, entry := range list {
		for _, destination := range entry.Destinations {
			id := notificationOf(entry.Event, destination).ID
			i := slices.IndexFunc(known, func(notification Notification) bool { return notification.ID == id })
			if i >= 0 && known[i].State == NotificationPending {
				entry.owed.Notifications = append(entry.owed.Notifications, known[i])
			}
		}
	}
	return nil
}

// notificationOf returns the notification of an event for a destination, without state
// and times. If several events report that a job was created, completed, failed,
// cancelled or lost, they share one. Every other event has its own.
func notificationOf(event tasks.Event, destination string) Notification {
	notification := Notification{Job: event.Job, Type: event.Type, Destination: destination}
	once := []string{tasks.TypeCreated, tasks.TypeCompleted, tasks.TypeFailed, tasks.TypeCancelled, tasks.TypeLost}
	if event.Job.ID == "" || !slices.Contains(once, event.Type) {
		notification.EventID = event.ID
	}
	h := sha256.New()
	for _, part := range []string{notification.Job.Platform, notification.Job.ID, notification.EventID, notification.Type, notification.Destination} {
		fmt.Fprintf(h, "%d:%s", len(part), part)
	}
	notification.ID = "ntf_" + hex.EncodeToString(h.Sum(nil)[:12])
	return notification
}
