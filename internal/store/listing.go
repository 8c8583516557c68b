package store

import (
	"context"
	"database/sql"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/klinghook/klinghook/tasks"
)

// Jobs are listed by seq, which never changes: the time of the first event or metadata in
// milliseconds, then seqBits bits of a counter. It is the cursor of pages, selects a range
// of time, and is the last column of every index that lists jobs.
const seqBits = 21

// firstSeq returns the least seq of a time. Times before 1970 count as 1970, times after
// 2109 as 2109.
func firstSeq(at time.Time) int64 { return min(max(at.UnixMilli(), 0), 1<<42-1) << seqBits }

// newSeq returns a seq for a new job. If two processes choose the same, the second insert
// fails and its task is retried.
func (d dialect) newSeq(first time.Time) int64 {
	return firstSeq(first) | d.counted.Add(1)&(1<<seqBits-1)
}

func randomCounter() *atomic.Int64 {
	counter := new(atomic.Int64)
	counter.Store(rand.Int64N(1 << seqBits))
	return counter
}

// listing is what job_tags and job_search contain of a job.
type listing struct {
	status        tasks.Status
	source, model string
	tags          []string
	text          string
}

func (j *jobRow) listing() listing {
	job := j.job()
	return listing{job.Status, job.Source, job.Model, job.Tags, searchText(job)}
}

// maxSearchText is how much of a job's text is searched, in bytes after foldText.
const maxSearchText = 16 << 10

// searchText returns the text in which a job is searched.
func searchText(job Job) string {
	text := foldText(strings.Join([]string{job.Key.ID, job.ExternalID, job.Error, job.Prompt}, "\n"))
	return text[:min(len(text), maxSearchText)] + strings.Join(marks([]tasks.Status{job.Status}, job.Source, job.Model, job.Tags...), "")
}

// marks returns the marks of a job's values or of filters; empty values have none. They end
// a job's search text, so the text index leaves out jobs that other filters do not select.
func marks(statuses []tasks.Status, source, model string, tags ...string) (list []string) {
	for _, status := range statuses {
		list = append(list, statusMark(status))
	}
	if list = slices.Compact(list); len(list) > 1 {
		list = nil // a selected job has any one of these
	}
	add := func(kind, value string) {
		if value != "" {
			list = append(list, mark(kind, value))
		}
	}
	add("source", source)
	add("model", model)
	for _, tag := range tags {
		add("tag", tag)
	}
	return list
}

// statusMark returns the mark of a status. Unfinished and completed jobs share one, so most
// texts are indexed only once.
func statusMark(status tasks.Status) string {
	if status == tasks.StatusCreated || status == tasks.StatusProcessing {
		status = tasks.StatusCompleted
	}
	return mark("status", string(status))
}

// mark returns a line of three capitals, K to Z, for a value. Folded text contains no such
// line. Two values may have the same mark: a found job is checked for all filters.
func mark(kind, value string) string {
	sum := crc32.ChecksumIEEE([]byte(kind + " " + storable(value)))
	return "\n" + string([]byte{'K' + byte(sum&15), 'K' + byte(sum>>4&15), 'K' + byte(sum>>8&15)})
}

// foldText prepares text for search: it lowers the case of letters and replaces each
// character beyond ASCII by five capitals. A trigram index then finds even a single Chinese
// character, in a PostgreSQL database of any locale.
func foldText(text string) string {
	var b strings.Builder
	for _, r := range strings.ToLower(storable(text)) {
		if r < utf8.RuneSelf {
			b.WriteByte(byte(r))
			continue
		}
		b.WriteByte('A' + byte(min(r>>16, 9)))
		for shift := 12; shift >= 0; shift -= 4 {
			b.WriteByte('K' + byte(r>>shift&15))
		}
	}
	return b.String()
}

// writeListings updates the rows of job_tags and job_search after jobs were written.
func writeListings(ctx context.Context, tx *sql.Tx, d dialect, jobs []*jobRow) error {
	var tagged, texts [][]any
	for _, job := range jobs {
		before, now := job.listed, job.listing()
		if len(before.tags) > 0 && !slices.Equal(before.tags, now.tags) {
			if _, err := tx.ExecContext(ctx, `DELETE FROM job_tags WHERE platform = $1 AND job_id = $2`, job.key.Platform, job.key.ID); err != nil {
				return fmt.Errorf("delete tags: %w", err)
			}
		}
		if before.status != now.status || before.source != now.source || before.model != now.model || !slices.Equal(before.tags, now.tags) {
			for _, tag := range now.tags {
				tagged = append(tagged, []any{job.key.Platform, job.key.ID, tag, now.status, now.source, now.model, job.seq})
			}
		}
		if before.text != now.text {
			texts = append(texts, []any{job.seq, now.text})
		}
		job.listed = now
	}
	_, err := insertRows(ctx, tx, d, scanOne[int64], `INSERT INTO job_tags (platform, job_id, tag, status, source, model, seq)`, tagged, `
		ON CONFLICT (platform, job_id, tag) DO UPDATE SET status = excluded.status, source = excluded.source, model = excluded.model
		RETURNING seq`)
	if err != nil {
		return fmt.Errorf("write tags: %w", err)
	}
	_, err = insertRows(ctx, tx, d, scanOne[int64], `INSERT INTO job_search (seq, text)`, texts, `ON CONFLICT (seq) DO UPDATE SET text = excluded.text RETURNING seq`)
	return wrap(err, "write search text")
}
