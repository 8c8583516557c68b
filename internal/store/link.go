package store

import (
	"cmp"
	"context"
	"database/sql"
	"net/url"
	"slices"
	"strings"
	"time"
)

// linkedFile is the state of a file of a job: every link to it, and its copy in the
// bucket. Which link counts depends on the set of links and on which of them are
// dead, not on the order in which they came.
type linkedFile struct {
	links []link // the newest first
	// storedURL is the link that the object in the bucket came from; empty when there
	// is none.
	storedURL string
	// publishing is the resource that was last about to be published; empty once it was
	// noted. A process that dies in between leaves it.
	publishing string
}

// link is one link to a file.
type link struct {
	URL string `json:"url"`
	// Stamp is that of the latest event with the link.
	Stamp stamp `json:"stamp"`
	// Dead is why the link was given up; empty while it may work.
	Dead string `json:"dead,omitempty"`
	// Task is set for a link that replaces a dead one: the link whose task now
	// downloads this one.
	Task string `json:"task,omitempty"`
}

// task returns the link that names the task which downloads this one.
func (l link) task() string { return cmp.Or(l.Task, l.URL) }

// add adds a link.
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

// renew adds a link that Kling gave when asked to replace a dead one. From then on it
// alone counts, and the dead link's task downloads it: Kling may sign the link anew each
// time it is asked, and a task for each would never end. Only the last replacement is
// kept.
func (f *linkedFile) renew(given string, from stamp, dead string) {
	at := slices.IndexFunc(f.links, func(l link) bool { return l.URL == dead })
	if given == dead || at < 0 {
		f.add(given, from)
		return
	}
	fresh := link{URL: given, Stamp: from, Task: f.links[at].task()}
	f.links = slices.DeleteFunc(f.links, func(l link) bool { return l.Task != "" || l.URL == given })
	for i := range f.links {
		f.links[i].Dead = cmp.Or(f.links[i].Dead, "Kling gave another")
	}
	f.links = append(f.links, fresh)
	f.sort()
}

// giveUp notes why a link is dead; with an empty reason it is not.
func (f *linkedFile) giveUp(given, reason string) {
	for i := range f.links {
		if f.links[i].URL == given {
			f.links[i].Dead = reason
		}
	}
}

// served notes that a link works, if that changes which one counts: it is the newest,
// or all are dead.
func (f *linkedFile) served(given string) {
	if f.links[0].URL == given || f.state() == MediaFailed {
		f.giveUp(given, "")
	}
}

// revive makes every link worth another try.
func (f *linkedFile) revive() {
	for i := range f.links {
		f.links[i].Dead = ""
	}
}

// current returns the link that counts: the newest that is not dead, else the newest.
func (f *linkedFile) current() link {
	for _, link := range f.links {
		if link.Dead == "" {
			return link
		}
	}
	return f.links[0]
}

// linkedAt returns when the sender gave the current link, or a time if it did not say.
func (f *linkedFile) linkedAt(unknown time.Time) time.Time {
	if at := f.current().Stamp.At; !at.IsZero() {
		return at
	}
	return unknown
}

// state is how far the file is. A stored file is downloaded again only if the current
// link names another resource, not for a new signature in the query. It stays stored
// when all newer links are dead.
func (f *linkedFile) state() MediaState {
	switch c := f.current(); {
	case f.storedURL != "" && (c.Dead != "" || resource(c.URL) == resource(f.storedURL)):
		return MediaStored
	case c.Dead != "":
		return MediaFailed
	}
	return MediaPending
}

// resource returns what a link points at: the link without query and fragment, which
// contain signatures and expiry times.
func resource(link string) string {
	u, err := url.Parse(link)
	if err != nil { // a browser may still accept it
		return link[:strings.IndexAny(link+"?", "?#")]
	}
	u.RawQuery, u.Fragment, u.ForceQuery = "", "", false
	return u.String()
}

// changeLinks changes what decides about a file, and the columns that follow from it.
// The row is locked until the transaction ends.
func changeLinks(ctx context.Context, tx *sql.Tx, d dialect, jobID, name string, at time.Time, change func(*linkedFile)) error {
	linked, err := one(ctx, tx, func(row scanner) (linked linkedFile, err error) {
		err = row.Scan(asJSON{&linked.links}, &linked.storedURL, &linked.publishing)
		return linked, err
	}, `SELECT links, stored_url, publishing FROM media WHERE job_id = $1 AND name = $2`+d.forUpdate, jobID, name)
	if err != nil {
		return err
	}
	change(&linked)
	links, err := encode(linked.links)
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, `
		UPDATE media SET links = $3, stored_url = $4, publishing = $5, url = $6, linked_at = coalesce($7, created_at), state = $8, error = $9, updated_at = $10
		WHERE job_id = $1 AND name = $2`,
		jobID, name, links, linked.storedURL, linked.publishing, linked.current().URL, d.time(linked.linkedAt(time.Time{})), linked.state(), storable(linked.links[0].Dead), d.time(at))
	return err
}
