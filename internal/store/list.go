package store

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/klinghook/klinghook/tasks"
)

// defaultLimit is the length of a page without a limit.
const defaultLimit = 50

// JobQuery selects a page of jobs, newest first. The zero value selects all.
type JobQuery struct {
	// Text is words, each of them a part of the id, external id, prompt or error, in any
	// case and order. If it is short, as in [IsShort], only the newest 30,000 jobs are
	// searched, unless the other fields select few.
	Text     string
	Platform string
	// Statuses selects jobs with any of these; empty selects all.
	Statuses           []tasks.Status
	Source, Model, Tag string
	// Since and Until select by the time of the job's first event or metadata, in
	// milliseconds. Until is excluded.
	Since, Until time.Time
	// Before is the [JobRow.Seq] after which to continue; 0 starts from the newest.
	Before int64
	// After selects only jobs newer than this Seq.
	After int64
	// Limit is the maximum number of jobs; default 50, at most 500.
	Limit int
}

// IsShort reports whether a text has words, but none with three letters or digits in a row
// or a character beyond ASCII.
func IsShort(text string) bool {
	return areShort(searchWords(text))
}

// JobRow is a job in a list.
type JobRow struct {
	Job
	// Seq orders jobs in lists. It never changes; newer jobs have greater ones.
	Seq int64
	// Media are the job's files by name.
	Media []Media
	// OpenDeadLetters counts the job's open dead letters.
	OpenDeadLetters int
}

// ListJobs returns a page of jobs, newest first.
//
// It scans the newest jobs first. If too few of them match, it reads the newest of each
// matching combination of status, source and model from an index, so rare jobs take no
// longer than common ones.
func (s *Store) ListJobs(ctx context.Context, q JobQuery) (rows []JobRow, err error) {
	err = s.reading(ctx, func(db queryer) error {
		seqs, err := s.jobList(db, q).page(ctx)
		if err != nil || len(seqs) == 0 {
			return err
		}
		var conditions where
		andIn(&conditions, "seq", seqs)
		rows, err = readJobRows(ctx, db, conditions)
		return err
	})
	return rows, wrap(err, "list jobs")
}

// JobRows returns the given jobs that exist, newest first.
func (s *Store) JobRows(ctx context.Context, jobs []tasks.JobKey) ([]JobRow, error) {
	var list []JobRow
	for chunk := range slices.Chunk(jobs, maxRows) {
		var conditions where
		conditions.andJobs("id", chunk)
		conditions.andIf(true, "NOT EXISTS (SELECT 1 FROM erasures x WHERE x.platform = jobs.platform AND x.job_id = jobs.id)")
		rows, err := readJobRows(ctx, s.reads, conditions)
		if err != nil {
			return nil, wrap(err, "read jobs")
		}
		list = append(list, rows...)
	}
	slices.SortFunc(list, func(a, b JobRow) int { return cmp.Compare(b.Seq, a.Seq) })
	return list, nil
}

// readJobRows reads jobs, newest first, with their files and open dead letters.
func readJobRows(ctx context.Context, q queryer, conditions where) ([]JobRow, error) {
	list, err := collect(ctx, q, func(row scanner) (job JobRow, err error) {
		job.Job, err = scanJobAnd(row, &job.Seq)
		return job, err
	}, selectedJob+`, seq FROM jobs`+conditions.String()+` ORDER BY seq DESC`, conditions.args...)
	if err != nil || len(list) == 0 {
		return nil, err
	}
	at := make(map[tasks.JobKey]*JobRow, len(list))
	keys := make([]tasks.JobKey, len(list))
	for i := range list {
		keys[i] = list[i].Key
		at[keys[i]] = &list[i]
	}
	var files, letters where
	files.andJobs("job_id", keys)
	media, err := queryMedia(ctx, q, files.String()+` ORDER BY platform, job_id, name`, files.args...)
	if err != nil {
		return nil, err
	}
	for _, file := range media {
		at[file.Job].Media = append(at[file.Job].Media, file)
	}
	letters.andJobs("job_id", keys)
	open, err := collect(ctx, q, func(row scanner) (letter DeadLetter, err error) {
		err = row.Scan(&letter.Job.Platform, &letter.Job.ID, &letter.State)
		return letter, err
	}, `SELECT platform, job_id, state FROM dead_letters`+letters.String(), letters.args...)
	if err != nil {
		return nil, err
	}
	for _, letter := range open {
		if letter.State == DeadLetterDead {
			at[letter.Job].OpenDeadLetters++
		}
	}
	return list, nil
}

// Facets are the values that jobs can be selected by, sorted.
type Facets struct{ Models, Sources, Tags []string }

// maxFacets is how many values of each kind [Store.Facets] returns.
const maxFacets = 100

// Facets returns the models, sources and tags of all jobs, at most 100 of each.
func (s *Store) Facets(ctx context.Context) (f Facets, err error) {
	var kinds []jobKind
	err = s.reading(ctx, func(db queryer) (err error) {
		if kinds, err = s.jobList(db, JobQuery{}).kinds(ctx); err == nil {
			f.Tags, err = collect(ctx, db, scanOne[string], distinctTags, maxFacets)
		}
		return err
	})
	models, sources := make(map[string]bool), make(map[string]bool)
	for _, kind := range kinds {
		models[kind.model], sources[kind.source] = true, true
	}
	f.Models, f.Sources = facet(models), facet(sources)
	return f, wrap(err, "list models, sources and tags")
}

func facet(values map[string]bool) []string {
	var list []string
	for value := range values {
		if strings.TrimSpace(value) != "" {
			list = append(list, value)
		}
	}
	slices.Sort(list)
	return list[:min(len(list), maxFacets)]
}

// distinctTags seeks each tag after the one before it.
const distinctTags = `
	WITH RECURSIVE tags(tag) AS (
		SELECT (SELECT tag FROM job_tags ORDER BY tag LIMIT 1)
		UNION ALL SELECT (SELECT t.tag FROM job_tags t WHERE t.tag > tags.tag ORDER BY t.tag LIMIT 1) FROM tags WHERE tags.tag IS NOT NULL
	)
	SELECT tag FROM tags WHERE tag IS NOT NULL LIMIT $1`
