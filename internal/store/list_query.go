package store

import (
	"context"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/klinghook/klinghook/tasks"
)

const (
	// maxKinds bounds the combinations of status, source and model.
	maxKinds = 2000
	// fewKinds is how many of them are searched for a text before its index is asked.
	fewKinds = 50
)

// jobList finds the jobs of a page.
type jobList struct {
	JobQuery
	dialect dialect
	q       queryer
	text    string // folded
	// walked is how many of the newest jobs are looked through before an index is asked,
	// and walkedForText the same for a text that the text index cannot find.
	walked, walkedForText int
	// few is how many jobs are searched for a text without the text index.
	few int
}

func (s *Store) jobList(db queryer, q JobQuery) *jobList {
	if q.Limit <= 0 {
		q.Limit = defaultLimit
	}
	q.Limit = min(q.Limit, maxRows)
	return &jobList{JobQuery: q, dialect: s.dialect, q: db, text: foldText(q.Text), walked: 2000, walkedForText: 20_000, few: 4000}
}

// jobKind is a combination that jobs_by_kind lists.
type jobKind struct {
	status        tasks.Status
	source, model string
}

// trigram is what the text index needs of a text.
var trigram = regexp.MustCompile(`[0-9A-Za-z]{3}`)

// page returns the seqs of a page.
func (l *jobList) page(ctx context.Context) ([]int64, error) {
	depth := l.walked
	short := l.text != "" && !trigram.MatchString(l.text)
	if short {
		depth = l.walkedForText
	}
	query, args := l.walk(depth)
	seqs, err := collect(ctx, l.q, scanOne[int64], query, args...)
	if err != nil || len(seqs) == l.Limit || short {
		return seqs, err
	}
	kinds, err := l.kinds(ctx)
	if err != nil {
		return nil, err
	}
	kinds = slices.DeleteFunc(kinds, func(k jobKind) bool {
		return len(l.Statuses) > 0 && !slices.Contains(l.Statuses, k.status) || l.Source != "" && l.Source != k.source || l.Model != "" && l.Model != k.model
	})
	if len(kinds) == 0 {
		return nil, nil
	}
	if l.text == "" {
		query, args = l.newest(kinds, l.Limit)
		return collect(ctx, l.q, scanOne[int64], query, args...)
	}
	query, args = l.countFew(kinds)
	n, err := one(ctx, l.q, scanOne[int], query, args...)
	if err != nil {
		return nil, err
	}
	if n <= l.few || len(kinds) <= fewKinds {
		query, args = l.searchFew(kinds)
		seqs, err = collect(ctx, l.q, scanOne[int64], query, args...)
		if err != nil || n <= l.few || len(seqs) == l.Limit {
			return seqs, err
		}
	}
	query, args = l.searchIndex()
	return collect(ctx, l.q, scanOne[int64], query, args...)
}

// andRange adds the bounds of seq.
func (l *jobList) andRange(w *where, column string) {
	before, after := l.Before, l.After
	if until := firstSeq(l.Until); !l.Until.IsZero() && (before == 0 || until < before) {
		before = until
	}
	if since := firstSeq(l.Since) - 1; !l.Since.IsZero() && since > after {
		after = since
	}
	w.andIf(before != 0 || !l.Until.IsZero(), column+" < ?", before)
	w.andIf(after != 0, column+" > ?", after)
}

// andSelected adds the conditions on job j but those on the text and the range.
func (l *jobList) andSelected(w *where) {
	if len(l.Statuses) > 0 {
		andIn(w, "j.status", l.Statuses)
	}
	w.andIf(l.Platform != "", "j.platform = ?", storable(l.Platform))
	w.andIf(l.Source != "", "j.source = ?", storable(l.Source))
	w.andIf(l.Model != "", "j.model = ?", storable(l.Model))
	w.andIf(l.Tag != "", "EXISTS (SELECT 1 FROM job_tags t WHERE t.platform = j.platform AND t.job_id = j.id AND t.tag = ?)", storable(l.Tag))
}

// andText adds the condition that t, a row of job_search, has the text.
func (l *jobList) andText(w *where) {
	w.andIf(true, l.dialect.position+"(t.text, ?) > 0", l.text)
}

// walk selects from the newest jobs.
func (l *jobList) walk(depth int) (string, []any) {
	var bounds, selected where
	l.andRange(&bounds, "seq")
	selected.args = bounds.args
	newest := bounds.String() + ` ORDER BY seq DESC LIMIT ` + strconv.Itoa(depth)
	from := `(SELECT seq, platform, id, status, source, model FROM jobs` + newest + `) j`
	if l.text != "" {
		from = `(SELECT seq, text FROM job_search` + newest + `) t JOIN jobs j ON j.seq = t.seq`
		l.andText(&selected)
	}
	l.andSelected(&selected)
	return `SELECT j.seq FROM ` + from + selected.String() + ` ORDER BY j.seq DESC LIMIT ` + strconv.Itoa(l.Limit), selected.args
}

// kinds returns the kinds of all jobs, or of those with the tag.
func (l *jobList) kinds(ctx context.Context) ([]jobKind, error) {
	query, args := l.kindsQuery()
	return collect(ctx, l.q, func(row scanner) (k jobKind, err error) {
		err = row.Scan(&k.status, &k.source, &k.model)
		return k, err
	}, query, args...)
}

func (l *jobList) kindsQuery() (string, []any) {
	if l.Tag == "" {
		return strings.NewReplacer("{table}", "jobs", "{where}", "").Replace(allKinds), nil
	}
	return strings.NewReplacer("{table}", "job_tags", "{where}", "tag = $1 AND ").Replace(allKinds), []any{storable(l.Tag)}
}

// allKinds seeks each source of a status, and each model of these, after the one before.
var allKinds = `
	WITH RECURSIVE statuses(status) AS (VALUES ('` + strings.Join(statusNames(), `'), ('`) + `')),
	sources(status, source) AS (
		SELECT status, (SELECT j.source FROM {table} j WHERE {where}j.status = statuses.status ORDER BY j.source LIMIT 1) FROM statuses
		UNION ALL
		SELECT status, (SELECT j.source FROM {table} j WHERE {where}j.status = sources.status AND j.source > sources.source ORDER BY j.source LIMIT 1)
		FROM sources WHERE source IS NOT NULL
	),
	kinds(status, source, model) AS (
		SELECT status, source, (SELECT j.model FROM {table} j WHERE {where}j.status = sources.status AND j.source = sources.source ORDER BY j.model LIMIT 1)
		FROM sources WHERE source IS NOT NULL
		UNION ALL
		SELECT status, source, (SELECT j.model FROM {table} j WHERE {where}j.status = kinds.status AND j.source = kinds.source AND j.model > kinds.model ORDER BY j.model LIMIT 1)
		FROM kinds WHERE model IS NOT NULL
	)
	SELECT status, source, model FROM kinds WHERE model IS NOT NULL LIMIT ` + strconv.Itoa(maxKinds)

func statusNames() (names []string) {
	for _, status := range statuses() {
		names = append(names, string(status))
	}
	return names
}

// eachKind returns a query for the newest n jobs of each kind, as rows of seq.
func (l *jobList) eachKind(kinds []jobKind, n int) (query string, args []any) {
	var conditions where
	for _, k := range kinds {
		conditions.args = append(conditions.args, k.status, k.source, k.model)
	}
	table := "jobs"
	if l.Tag != "" {
		table = "job_tags"
		conditions.andIf(true, "i.tag = ?", storable(l.Tag))
	}
	conditions.andIf(l.Platform != "", "i.platform = ?", storable(l.Platform))
	conditions.andIf(true, "i.status = k.status AND i.source = k.source AND i.model = k.model")
	l.andRange(&conditions, "i.seq")
	newest := `SELECT i.seq FROM ` + table + ` i` + conditions.String() + ` ORDER BY i.seq DESC LIMIT ` + strconv.Itoa(n)
	return `WITH kinds(status, source, model) AS (VALUES ` + tuples(len(kinds), 3) + `) SELECT j.seq FROM kinds k ` + l.dialect.forEach(newest), conditions.args
}

// newest selects the newest jobs of kinds.
func (l *jobList) newest(kinds []jobKind, limit int) (string, []any) {
	query, args := l.eachKind(kinds, limit)
	return query + ` ORDER BY j.seq DESC LIMIT ` + strconv.Itoa(limit), args
}

// countFew counts the jobs of kinds, up to one more than few.
func (l *jobList) countFew(kinds []jobKind) (string, []any) {
	query, args := l.eachKind(kinds, l.few+1)
	return `SELECT count(*) FROM (` + query + ` LIMIT ` + strconv.Itoa(l.few+1) + `) counted`, args
}

// searchFew searches the newest few jobs of kinds for the text.
func (l *jobList) searchFew(kinds []jobKind) (string, []any) {
	query, args := l.newest(kinds, l.few)
	selected := where{args: args}
	l.andText(&selected)
	return `SELECT j.seq FROM (` + query + `) j JOIN job_search t ON t.seq = j.seq` + selected.String() + ` ORDER BY j.seq DESC LIMIT ` + strconv.Itoa(l.Limit), selected.args
}

// searchIndex selects jobs by the text index.
func (l *jobList) searchIndex() (string, []any) {
	var found, selected where
	l.dialect.andFound(&found, l.text)
	l.andRange(&found, "seq")
	selected.args = found.args
	l.andSelected(&selected)
	return l.dialect.searchIndex(found.String(), selected.String()) + ` ORDER BY j.seq DESC LIMIT ` + strconv.Itoa(l.Limit), selected.args
}
