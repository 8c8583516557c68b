package store

import (
	"context"
	"database/sql"
	"errors"
	"iter"
	"slices"
	"time"

	"github.com/klinghook/klinghook/tasks"
)

// MediaState is the state of a job's file.
type MediaState string

// The states of media.
const (
	// MediaPending is still to be downloaded from its link.
	MediaPending MediaState = "pending"
	// MediaStored is complete in the bucket.
	MediaStored MediaState = "stored"
	// MediaFailed was given up: all its links are dead. A new link makes it pending again.
	MediaFailed MediaState = "failed"
	// MediaDeleted was stored, and its object is deleted or about to be.
	MediaDeleted MediaState = "deleted"
)

// errDoomed reports that an older object of the same name is about to be deleted.
var errDoomed = errors.New("an older file of this name is being deleted; retry")

// errPublishedTwice reports that two downloads of different links were published at the
// same time: the bucket may have either.
var errPublishedTwice = errors.New("another download of the file was published at the same time; retry")

// Media is a file of a job.
type Media struct {
	Job tasks.JobKey
	// Name is unique within the job; see [tasks.MediaName].
	Name string
	// URL is the current link: the newest that was not given up. Do not log it: its query
	// has a signature.
	URL string
	// LinkedAt is when the sender gave the link, or when its first event arrived.
	LinkedAt time.Time
	// TaskLink is the link that the download task was created for: URL itself, or the dead
	// link that it replaces.
	TaskLink string
	// GivenUp is the newest link if it was given up; GivenUpTask is the link that its task
	// was created for.
	GivenUp, GivenUpTask string
	State                MediaState
	// Object is the file's name in the bucket; Size is in bytes, SHA256 in hex. They
	// are empty until the file is stored.
	Object      string
	Size        int64
	SHA256      string
	ContentType string
	// Error is why the last attempt at a pending file failed, else why the newest link
	// was given up, even if the file is stored from an older one.
	Error                          string
	CreatedAt, UpdatedAt, StoredAt time.Time
}

func queryMedia(ctx context.Context, q queryer, where string, args ...any) ([]Media, error) {
	return collect(ctx, q, scanMedia, `
		SELECT platform, job_id, name, url, linked_at, links, state, object, size_bytes, sha256, content_type, error, created_at, updated_at, stored_at
		FROM media `+where, args...)
}

func scanMedia(row scanner) (Media, error) {
	var file Media
	var linked linkedFile
	err := row.Scan(&file.Job.Platform, &file.Job.ID, &file.Name, &file.URL, instant{&file.LinkedAt}, asJSON{&linked.links}, &file.State, &file.Object, &file.Size, &file.SHA256, &file.ContentType, &file.Error,
		instant{&file.CreatedAt}, instant{&file.UpdatedAt}, instant{&file.StoredAt})
	if err != nil {
		return file, err
	}
	file.TaskLink = linked.current().task()
	if newest := linked.links[0]; newest.Dead != "" {
		file.GivenUp, file.GivenUpTask = newest.URL, newest.task()
	}
	return file, nil
}

// MediaOf returns a job's media by name.
func (s *Store) MediaOf(ctx context.Context, job tasks.JobKey) ([]Media, error) {
	media, err := queryMedia(ctx, s.db, `WHERE platform = $1 AND job_id = $2 ORDER BY name`, job.Platform, job.ID)
	return media, wrap(err, "read media of %s", job)
}

// MissingVideos returns the given jobs that have a video that is not stored.
func (s *Store) MissingVideos(ctx context.Context, jobs []tasks.JobKey) ([]tasks.JobKey, error) {
	var missing []tasks.JobKey
	for chunk := range slices.Chunk(jobs, maxRows) {
		var conditions where
		conditions.andIf(true, "state NOT IN (?, ?)", MediaStored, MediaDeleted)
		conditions.andIf(true, "name <> ?", tasks.MediaThumbnail)
		conditions.andJobs("job_id", chunk)
		keys, err := collect(ctx, s.db, scanKey, `SELECT platform, job_id FROM media `+conditions.String(), conditions.args...)
		if err != nil {
			return nil, wrap(err, "list missing videos")
		}
		missing = append(missing, keys...)
	}
	return missing, nil
}

// Medium returns one file of a job, or ErrNotFound.
func (s *Store) Medium(ctx context.Context, job tasks.JobKey, name string) (Media, error) {
	media, err := queryMedia(ctx, s.db, `WHERE platform = $1 AND job_id = $2 AND name = $3`, job.Platform, job.ID, name)
	if err == nil && len(media) == 0 {
		err = ErrNotFound
	}
	if err != nil {
		return Media{}, wrap(err, "read media %s of %s", name, job)
	}
	return media[0], nil
}

const owedMedia = `WHERE state = 'pending' AND (linked_at, platform, job_id, name) > ($1, $2, $3, $4) ORDER BY linked_at, platform, job_id, name LIMIT $5`

// OwedMedia yields the pending media, those with the oldest links first, in batches of
// at most limit.
func (s *Store) OwedMedia(ctx context.Context, limit int) iter.Seq2[[]Media, error] {
	return batches(limit, []any{s.dialect.time(longAgo), "", "", ""}, func(after []any) ([]Media, error) {
		media, err := queryMedia(ctx, s.db, owedMedia, append(after, limit)...)
		return media, wrap(err, "list owed media")
	}, func(file Media) []any {
		return []any{s.dialect.time(file.LinkedAt), file.Job.Platform, file.Job.ID, file.Name}
	})
}

// expiring is the condition for pending media whose links were given before a time.
const expiring = `state = 'pending' AND linked_at < $1`

// expiringSince returns the time before which links in the last tenth of their lifetime
// were given.
func (s *Store) expiringSince(lifetime time.Duration, now time.Time) any {
	return s.dialect.time(now.Add(lifetime/10 - lifetime))
}

// ExpiringMedia returns at most limit pending media whose links are in the last tenth of
// their lifetime, first to expire first; 0 means no limit.
func (s *Store) ExpiringMedia(ctx context.Context, lifetime time.Duration, now time.Time, limit int) ([]Media, error) {
	media, err := queryMedia(ctx, s.db, `WHERE `+expiring+` ORDER BY linked_at, platform, job_id, name`+(&where{}).limit(limit), s.expiringSince(lifetime, now))
	return media, wrap(err, "list expiring media")
}

// CountExpiringMedia counts the files that [Store.ExpiringMedia] lists, up to [CountLimit].
func (s *Store) CountExpiringMedia(ctx context.Context, lifetime time.Duration, now time.Time) (int, error) {
	n, err := s.countUpTo(ctx, `media WHERE `+expiring, s.expiringSince(lifetime, now))
	return n, wrap(err, "count expiring media")
}

// StoreMedia publishes a downloaded file and marks it as stored. file.URL is the link that
// it was downloaded from; Object, Size and SHA256 describe it. If the current link now
// names another resource, or the file is already stored, StoreMedia does not call publish
// and superseded is true.
//
// No transaction is open during publish. If a newer link arrives meanwhile, the file
// stays pending. If the publishing of another download overlaps, the bucket may have
// either file: it is pending again and the error asks for a retry.
func (s *Store) StoreMedia(ctx context.Context, file Media, at time.Time, publish func() error) (superseded bool, err error) {
	var contested bool
	err = s.changeMedia(ctx, file, at, func(linked *linkedFile) {
		linked.served(file.URL)
		if superseded = linked.state() != MediaPending || resource(linked.current().URL) != resource(file.URL); !superseded {
			contested = linked.publishing != "" && linked.publishing != resource(file.URL)
			linked.publishing = resource(file.URL)
			linked.published(file.Object)
		}
	})
	if err == nil && !superseded {
		err = notDoomed(ctx, s.db, file.Object) // else it would be removed
	}
	if err == nil && !superseded {
		if err = publish(); err == nil {
			err = s.markStored(ctx, file, at, contested)
		}
	}
	return superseded, wrap(err, "store media %s of %s", file.Name, file.Job)
}

// markStored marks a published file as stored, unless another download may have been
// published at the same time. It dooms the file's other objects, which have another
// content type.
func (s *Store) markStored(ctx context.Context, file Media, at time.Time, contested bool) error {
	var alone bool
	err := s.inTx(ctx, func(tx *sql.Tx) error {
		if err := notDoomed(ctx, tx, file.Object); err != nil {
			return err
		}
		var others []string
		err := changeLinks(ctx, tx, s.dialect, file.Job, file.Name, at, func(linked *linkedFile) {
			own := resource(file.URL)
			marked := linked.publishing == "" && resource(linked.storedURL) == own // by another download of the same file
			alone = !contested && (linked.publishing == own || marked)
			linked.storedURL, linked.publishing = "", "" // makes the other download fail too
			linked.published(file.Object)
			if alone {
				linked.storedURL, linked.again = file.URL, false
				others = slices.DeleteFunc(linked.objects, func(object string) bool { return object == file.Object })
				linked.objects = []string{file.Object}
			}
		})
		if err != nil || !alone {
			return err
		}
		if err := doom(ctx, tx, s.dialect, others, at); err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `
			UPDATE media SET object = $4, size_bytes = $5, sha256 = $6, content_type = $7, stored_at = $8
			WHERE platform = $1 AND job_id = $2 AND name = $3`,
			file.Job.Platform, file.Job.ID, file.Name, file.Object, file.Size, file.SHA256, file.ContentType, s.dialect.time(at))
		return err
	})
	if err == nil && !alone {
		err = errPublishedTwice
	}
	return err
}

// MediaFailed records why the link file.URL is dead and returns the updated file, which
// may have another current link.
func (s *Store) MediaFailed(ctx context.Context, file Media, reason string, at time.Time) (Media, error) {
	if err := s.changeMedia(ctx, file, at, func(linked *linkedFile) { linked.giveUp(file.URL, reason) }); err != nil {
		return Media{}, wrap(err, "give up link of media %s of %s", file.Name, file.Job)
	}
	return s.Medium(ctx, file.Job, file.Name)
}

// SetMediaError records why the last attempt at a pending file failed.
func (s *Store) SetMediaError(ctx context.Context, job tasks.JobKey, name, reason string, at time.Time) error {
	_, err := s.db.ExecContext(ctx, `UPDATE media SET error = $4, updated_at = $5 WHERE platform = $1 AND job_id = $2 AND name = $3 AND state = 'pending'`,
		job.Platform, job.ID, name, storable(reason), s.dialect.time(at))
	return wrap(err, "record error of media %s of %s", name, job)
}

// ReopenMedia makes a file that was given up pending again.
func (s *Store) ReopenMedia(ctx context.Context, job tasks.JobKey, name string, at time.Time) error {
	err := s.changeMedia(ctx, Media{Job: job, Name: name}, at, (*linkedFile).revive)
	return wrap(err, "reopen media %s of %s", name, job)
}

// RepeatMedia makes a file pending again, even if it is stored. Its object stays until
// another one replaces it; if no link works, the file is stored as before.
func (s *Store) RepeatMedia(ctx context.Context, job tasks.JobKey, name string, at time.Time) error {
	err := s.changeMedia(ctx, Media{Job: job, Name: name}, at, func(linked *linkedFile) {
		linked.revive()
		linked.again = linked.storedURL != ""
	})
	return wrap(err, "repeat media %s of %s", name, job)
}

func (s *Store) changeMedia(ctx context.Context, file Media, at time.Time, change func(*linkedFile)) error {
	return s.inTx(ctx, func(tx *sql.Tx) error {
		return changeLinks(ctx, tx, s.dialect, file.Job, file.Name, at, change)
	})
}
