package store

import (
	"cmp"
	"context"
	"database/sql"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/klinghook/klinghook/tasks"
)

// linkedFile is the state of a job's file: every link to it, and its copy in the
// bucket. The current link depends on the set of links and on which of them are dead,
// not on their order of arrival.
type linkedFile struct {
	links []link // newest first
	// storedURL is the link that the object in the bucket was downloaded from; empty if
	// there is no object.
	storedURL string
	// publishing is the resource being published; empty once it is stored. A process that
	// dies in between leaves it set.
	publishing string
	// again reports that a person wants the stored file to be downloaded again.
	again bool
	// objects are the names of all objects that the bucket may have for the file.
	objects []string
	// deleted reports that the file was stored and then deleted. Only a person can make it
	// pending again.
	deleted bool
}

// link is one link to a file.
type link struct {
	URL string `json:"url"`
	// Stamp is from the latest event with the link.
	Stamp stamp `json:"stamp"`
	// Dead is why the link was given up; empty while it may work.
	Dead string `json:"dead,omitempty"`
	// Task is the link that the download task was created for, if this link replaces a dead
	// one; else empty.
	Task string `json:"task,omitempty"`
}

// task returns the link that the download task was created for.
func (l link) task() string { return cmp.Or(l.Task, l.URL) }

// add adds a link, or updates the stamp of a known one.
func (f *linkedFile) add(given string, from stamp) {
	at := slices.IndexFunc(f.links, func(l link) bool { return l.URL == given })
	switch {
	case at < 0:
		f.links = append(f.links, link{URL: given, Stamp: from})
	case from.compare(f.links[at].Stamp) > 0:
		f.links[at].Stamp = from
	}
	f.sort()
}

func (f *linkedFile) sort() {
	slices.SortFunc(f.links, func(a, b link) int { return cmp.Or(b.Stamp.compare(a.Stamp), cmp.Compare(a.URL, b.URL)) })
}

// renew adds Kling's replacement for a dead link and gives up all other links. The dead
// link's task downloads the replacement: Kling may sign a new link for each request, and
// one task per link would never end. Only the last replacement is kept.
func (f *linkedFile) renew(given string, from stamp, dead string) {
	at := slices.IndexFunc(f.links, func(l link) bool { return l.URL == dead })
	if given == dead || at < 0 {
		f.add(given, from)
		return
	}
	fresh := link{URL: given, Stamp: from, Task: f.links[at].task()}
	f.links = slices.DeleteFunc(f.links, func(l link) bool { return l.Task != "" || l.URL == given })
	for i := range f.links {
		f.links[i].Dead = cmp.Or(f.links[i].Dead, "Kling gave another link")
	}
	f.links = append(f.links, fresh)
	f.sort()
}

// giveUp sets why a link is dead; an empty reason revives it.
func (f *linkedFile) giveUp(given, reason string) {
	for i := range f.links {
		if f.links[i].URL == given {
			f.links[i].Dead = reason
		}
	}
}

// served revives a link that works, if it is the newest or all links are dead.
func (f *linkedFile) served(given string) {
	if f.links[0].URL == given || f.state() == MediaFailed {
		f.giveUp(given, "")
	}
}

// revive makes a file that was given up or deleted pending again.
func (f *linkedFile) revive() {
	f.deleted = false
	for i := range f.links {
		f.links[i].Dead = ""
	}
}

// current returns the newest link that is not dead, else the newest.
func (f *linkedFile) current() link {
	for _, link := range f.links {
		if link.Dead == "" {
			return link
		}
	}
	return f.links[0]
}

// linkedAt returns when the sender gave the current link, or unknown if that is not known.
func (f *linkedFile) linkedAt(unknown time.Time) time.Time {
	if at := f.current().Stamp.At; !at.IsZero() {
		return at
	}
	return unknown
}

// state returns the file's state. A stored file is downloaded again only if the current
// link names another resource or a person wants it, not for a new signature in the query.
// It stays stored when all newer links are dead.
func (f *linkedFile) state() MediaState {
	switch c := f.current(); {
	case f.deleted:
		return MediaDeleted
	case f.storedURL != "" && (c.Dead != "" || !f.again && resource(c.URL) == resource(f.storedURL)):
		return MediaStored
	case c.Dead != "":
		return MediaFailed
	}
	return MediaPending
}

// published records that an object may be in the bucket.
func (f *linkedFile) published(object string) {
	if !slices.Contains(f.objects, object) {
		f.objects = append(f.objects, object)
	}
}

// resource returns a link without query and fragment, which contain signatures and
// expiry times.
func resource(link string) string {
	u, err := url.Parse(link)
	if err != nil { // a browser may still accept it
		return link[:strings.IndexAny(link+"?", "?#")]
	}
	u.RawQuery, u.Fragment, u.ForceQuery = "", "", false
	return u.String()
}

// changeLinks changes the links of a file and the columns computed from them. The row
// is locked until the transaction ends.
func changeLinks(ctx context.Context, tx *sql.Tx, d dialect, job tasks.JobKey, name string, at time.Time, change func(*linkedFile)) error {
	linked, err := one(ctx, tx, func(row scanner) (linked linkedFile, err error) {
		err = row.Scan(asJSON{&linked.links}, &linked.storedURL, &linked.publishing, asJSON{&linked.objects}, &linked.deleted, &linked.again)
		return linked, err
	}, `SELECT links, stored_url, publishing, objects, deleted_at IS NOT NULL, again FROM media WHERE platform = $1 AND job_id = $2 AND name = $3`+d.forUpdate, job.Platform, job.ID, name)
	if err != nil {
		return err
	}
	change(&linked)
	links, err := encode(linked.links)
	if err != nil {
		return err
	}
	objects, err := encode(append([]string{}, linked.objects...))
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, `
		UPDATE media SET links = $4, stored_url = $5, publishing = $6, url = $7, linked_at = coalesce($8, created_at), state = $9, error = $10, updated_at = $11,
			objects = $12, deleted_at = CASE WHEN $13 THEN deleted_at END, again = $14
		WHERE platform = $1 AND job_id = $2 AND name = $3`,
		job.Platform, job.ID, name, links, linked.storedURL, linked.publishing, linked.current().URL, d.time(linked.linkedAt(time.Time{})), linked.state(), storable(linked.links[0].Dead), d.time(at), objects, linked.deleted, linked.again)
	return err
}
