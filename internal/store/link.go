package store

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"time"
)

// linkedFile is what decides about a file of a job: every link that was given for
// it, and the one that it was stored from. Which link counts is a function of the
// set of links and of which of them are dead, whatever the order in which they came.
type linkedFile struct {
	// links are by age, the newest first.
	links []link
	// storedURL is the link that the object in the bucket came from; empty when
	// there is none.
	storedURL string
}

// link is one link to a file.
type link struct {
	URL string `json:"url"`
	// Stamp is that of the latest event that gave the link.
	Stamp stamp `json:"stamp"`
	// Dead is why the link was given up; empty while it may be good.
	Dead string `json:"dead,omitempty"`
	// Task is, of a link that was asked for in the place of a dead one, the link whose
	// task goes on with this one; empty for a link that has a task of its own.
	Task string `json:"task,omitempty"`
}

// task is the link by which the task is named that fetches this one.
func (l link) task() string { return cmp.Or(l.Task, l.URL) }

// take takes a link in.
func (f *linkedFile) take(given string, from stamp) {
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

// renew takes in a link that was asked for in the place of another. From then on it
// alone counts, and the other's task goes on with it: Kling may sign a link anew each
// time that it is asked, and as many tasks would never come to an end. Of the links
// that were asked for only the last is kept.
func (f *linkedFile) renew(given string, from stamp, dead string) {
	at := slices.IndexFunc(f.links, func(l link) bool { return l.URL == dead })
	if given == dead || at < 0 {
		f.take(given, from)
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

// bury notes that a link is dead.
func (f *linkedFile) bury(given, reason string) {
	for i := range f.links {
		if f.links[i].URL == given {
			f.links[i].Dead = reason
		}
	}
}

// refute notes that a link is not dead, for it has served, where that changes which
// one counts: it is the newest, or all are dead.
func (f *linkedFile) refute(given string) (changed bool) {
	newest := f.links[0]
	if changed = newest.Dead != "" && newest.URL == given || f.state() == MediaFailed; changed {
		f.bury(given, "")
	}
	return changed
}

// revive makes every link worth another try.
func (f *linkedFile) revive() {
	for i := range f.links {
		f.links[i].Dead = ""
	}
}

// current is the link that counts: the newest that is not dead, else the newest.
func (f *linkedFile) current() link {
	for _, l := range f.links {
		if l.Dead == "" {
			return l
		}
	}
	return f.links[0]
}

// state is how far the file is. One that is stored is fetched again only from a
// link that counts and names another resource, not when the signature in a query
// was renewed; and it stays stored when the newer links turn out to be dead.
func (f *linkedFile) state() MediaState {
	switch c := f.current(); {
	case f.storedURL != "" && (c.Dead != "" || resource(c.URL) == resource(f.storedURL)):
		return MediaStored
	case c.Dead != "":
		return MediaFailed
	}
	return MediaPending
}

// trouble is why the newest link is dead; empty when it is not.
func (f *linkedFile) trouble() string { return f.links[0].Dead }

// resource is what a link points at: the link less its query and fragment, in
// which signatures and expiry times stand.
func resource(link string) string {
	u, err := url.Parse(link)
	if err != nil {
		return link
	}
	u.RawQuery, u.Fragment, u.ForceQuery = "", "", false
	return u.String()
}

// encode returns the links as the file's row has them.
func (f *linkedFile) encode() (string, error) {
	text, err := json.Marshal(f.links)
	if err != nil {
		return "", fmt.Errorf("encode links: %w", err)
	}
	return storable(string(text)), nil
}

// readLinks reads and locks what decides about a file.
func readLinks(ctx context.Context, tx *sql.Tx, d dialect, jobID, name string) (*linkedFile, error) {
	f := new(linkedFile)
	var text string
	err := tx.QueryRowContext(ctx, `SELECT links, stored_url FROM media WHERE job_id = $1 AND name = $2`+d.forUpdate, jobID, name).Scan(&text, &f.storedURL)
	if err != nil {
		return nil, notFound(err)
	}
	if err := json.Unmarshal([]byte(text), &f.links); err != nil {
		return nil, fmt.Errorf("decode links: %w", err)
	}
	return f, nil
}

// changeLinks changes what decides about a file, and what follows from it in the
// file's row. The row is locked meanwhile.
func changeLinks(ctx context.Context, tx *sql.Tx, d dialect, jobID, name string, at time.Time, change func(*linkedFile)) error {
	f, err := readLinks(ctx, tx, d, jobID, name)
	if err != nil {
		return err
	}
	change(f)
	return writeLinks(ctx, tx, d, jobID, name, at, f)
}

// writeLinks writes what decides about a file, and what follows from it, to the
// row that readLinks has locked.
func writeLinks(ctx context.Context, tx *sql.Tx, d dialect, jobID, name string, at time.Time, f *linkedFile) error {
	links, err := f.encode()
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, `
		UPDATE media SET links = $3, stored_url = $4, url = $5, state = $6, error = $7, updated_at = $8
		WHERE job_id = $1 AND name = $2`,
		jobID, name, links, f.storedURL, f.current().URL, f.state(), storable(f.trouble()), d.time(at))
	return err
}
