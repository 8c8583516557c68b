package store

import (
	"cmp"
	"context"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/klinghook/klinghook/tasks"
)

// jobList finds the jobs of a page.
type jobList struct {
	JobQuery
	dialect dialect
	q       queryer
	words   []string // of the text, folded
	// rare are the trigrams of the words for which the text index is searched. If it is empty,
	// the index is searched for the words.
	rare []string
	// walked is how many of the newest jobs a list scans before it uses an index: walkedDeeper
	// at most if many of the first contain the text, and walkedForText if the text index
	// cannot find it.
	walked, walkedDeeper, walkedForText int
	// few is how many jobs are searched without the text index.
	few int
	// sampled is how many jobs with the text a sample has at least if they are very many.
	sampled int
	// maxKinds is how many combinations of status, source and model an index is used for.
	// If there are more, a list scans all jobs.
	maxKinds int
}

func (s *Store) jobList(db queryer, q JobQuery) *jobList {
	if q.Limit <= 0 {
		q.Limit = defaultLimit
	}
	q.Limit = min(q.Limit, maxRows)
	return &jobList{JobQuery: q, dialect: s.dialect, q: db, words: searchWords(q.Text), walked: 2000, walkedDeeper: 60_000, walkedForText: 30_000, few: 3000, sampled: 300, maxKinds: 2000}
}

// maxWords limits the words that are searched one by one.
const maxWords = 8

// searchWords returns the words of a text, folded. More than 8 count as one: a part of a
// prompt, probably.
func searchWords(text string) []string {
	words := strings.Fields(text)
	if len(words) > maxWords {
		words = []string{strings.TrimSpace(text)}
	}
	for i, word := range words {
		words[i] = foldText(word)
	}
	// The longest first: it is probably the rarest.
	slices.SortFunc(words, func(a, b string) int { return cmp.Or(cmp.Compare(len(b), len(a)), cmp.Compare(a, b)) })
	return slices.Compact(words)
}

// jobKind is a combination that jobs_by_kind lists.
type jobKind struct {
	status        tasks.Status
	source, model string
}

// trigram matches words that the text index can find.
var trigram = regexp.MustCompile(`[0-9A-Za-z]{3}`)

// areShort reports whether there are words and the text index can find none of them.
func areShort(words []string) bool {
	return len(words) > 0 && !slices.ContainsFunc(words, trigram.MatchString)
}

// trigramsOf returns the different trigrams of some texts that match a pattern, sorted.
func trigramsOf(texts []string, indexed *regexp.Regexp) (list []string) {
	for _, text := range texts {
		for i := range max(0, len(text)-2) {
			if indexed.MatchString(text[i : i+3]) {
				list = append(list, text[i:i+3])
			}
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// rarityJobs is how many of the newest jobs show which trigrams are rare.
const rarityJobs = 300

// findRare sets rare if the words have more trigrams than the text index is searched for. A
// single word may have twice as many: PostgreSQL checks it once, but each trigram apart.
func (l *jobList) findRare(ctx context.Context) error {
	trigrams := trigramsOf(l.words, l.dialect.indexed)
	most := l.dialect.maxTrigrams
	if len(l.words) == 1 && !strings.Contains(l.words[0], " ") {
		most *= 2
	}
	if len(trigrams) <= most {
		return nil
	}
	var bounds where
	l.andRange(&bounds, "seq")
	texts, err := collect(ctx, l.q, scanOne[string], `SELECT text FROM job_search`+bounds.String()+` ORDER BY seq DESC LIMIT `+strconv.Itoa(rarityJobs), bounds.args...)
	if err != nil {
		return err
	}
	jobs := make(map[string]int)
	for _, trigram := range trigrams {
		for _, text := range texts {
			if strings.Contains(text, trigram) {
				jobs[trigram]++
			}
		}
	}
	slices.SortStableFunc(trigrams, func(a, b string) int { return cmp.Compare(jobs[a], jobs[b]) })
	l.rare = trigrams[:l.dialect.maxTrigrams]
	return nil
}

// page returns the seqs of a page.
func (l *jobList) page(ctx context.Context) ([]int64, error) {
	depth := l.walked
	short := areShort(l.words)
	if short {
		depth = l.walkedForText
	}
	query, args := l.walk(depth)
	seqs, err := collect(ctx, l.q, scanOne[int64], query, args...)
	if err != nil || len(seqs) == l.Limit {
		return seqs, err
	}
	if deeper := depth * l.Limit * 3 / 2 / max(len(seqs), 1); len(l.words) > 0 && !short && deeper <= l.walkedDeeper {
		query, args = l.walk(deeper) // so many of the newest match that these should fill the page
		if seqs, err = collect(ctx, l.q, scanOne[int64], query, args...); err != nil || len(seqs) == l.Limit {
			return seqs, err
		}
	}
	kinds, err := l.kinds(ctx)
	if err != nil {
		return nil, err
	}
	if len(kinds) == l.maxKinds && short {
		return seqs, nil
	}
	if len(kinds) == l.maxKinds {
		query, args = l.walk(math.MaxInt32)
		return collect(ctx, l.q, scanOne[int64], query, args...)
	}
	kinds = slices.DeleteFunc(kinds, func(k jobKind) bool {
		return len(l.Statuses) > 0 && !slices.Contains(l.Statuses, k.status) || l.Source != "" && l.Source != k.source || l.Model != "" && l.Model != k.model
	})
	if len(kinds) == 0 {
		return nil, nil
	}
	if len(l.words) == 0 {
		query, args = l.newest(kinds, l.Limit)
		return collect(ctx, l.q, scanOne[int64], query, args...)
	}
	query, args = l.countFew(kinds)
	n, err := one(ctx, l.q, scanOne[int], query, args...)
	switch {
	case err != nil:
		return nil, err
	case n <= l.few:
		query, args = l.searchFew(kinds)
		return collect(ctx, l.q, scanOne[int64], query, args...)
	case short:
		return seqs, nil
	}
	return l.searchAll(ctx)
}

// searchAll uses the text index. PostgreSQL's finds all jobs with the text before it returns
// the first. If a sample shows that there are very many, it also shows how old the newest
// are, and only these are read.
func (l *jobList) searchAll(ctx context.Context) ([]int64, error) {
	if err := l.findRare(ctx); err != nil {
		return nil, err
	}
	if l.dialect.sample != "" {
		sample := *l
		sample.Limit = l.sampled
		query, args := sample.searchIndex(l.dialect.sample)
		seqs, err := collect(ctx, l.q, scanOne[int64], query, args...)
		if err != nil {
			return nil, err
		}
		if len(seqs) == sample.Limit {
			_, before := l.bounds()
			oldest := seqs[min(10+l.Limit/32, len(seqs)-1)] // of about 64 times as many
			query, args = l.searchIndex(l.dialect.made, oldest>>seqBits, before>>seqBits)
			seqs, err = collect(ctx, l.q, scanOne[int64], query, args...)
			if err != nil || len(seqs) == l.Limit {
				return seqs, err
			}
		}
	}
	query, args := l.searchIndex("")
	return collect(ctx, l.q, scanOne[int64], query, args...)
}

// bounds returns the bounds of seq, both excluded.
func (l *jobList) bounds() (after, before int64) {
	after, before = l.After, l.Before
	if before == 0 {
		before = math.MaxInt64
	}
	if !l.Until.IsZero() {
		before = min(before, firstSeq(l.Until))
	}
	if !l.Since.IsZero() {
		after = max(after, firstSeq(l.Since)-1)
	}
	return after, before
}

// andRange adds the bounds of seq.
func (l *jobList) andRange(w *where, column string) {
	after, before := l.bounds()
	w.andIf(before != math.MaxInt64, column+" < ?", before)
	w.andIf(after != 0, column+" > ?", after)
}

// andSelected adds the conditions on job j, except those on text and range.
func (l *jobList) andSelected(w *where) {
	if len(l.Statuses) > 0 {
		andIn(w, "j.status", l.Statuses)
	}
	w.andIf(l.Platform != "", "j.platform = ?", storable(l.Platform))
	w.andIf(l.Source != "", "j.source = ?", storable(l.Source))
	w.andIf(l.Model != "", "j.model = ?", storable(l.Model))
	w.andIf(l.Tag != "", "EXISTS (SELECT 1 FROM job_tags t WHERE t.platform = j.platform AND t.job_id = j.id AND t.tag = ?)", storable(l.Tag))
}

// andText joins t, the row of job_search of job j, and adds the conditions that it contains
// the words, and the marks of selected jobs: these exclude most others before their rows are
// read. Queries say CROSS JOIN, which makes SQLite start with the first table.
func (l *jobList) andText(w *where) {
	w.andIf(true, "j.seq = t.seq")
	l.andContains(w, slices.Concat(l.words, l.marks()))
}

// andContains adds the conditions that t contains some texts.
func (l *jobList) andContains(w *where, texts []string) {
	for _, text := range texts {
		w.andIf(true, l.dialect.position+"(t.text, ?) > 0", text)
	}
}

// marks returns the marks that the text of a selected job contains.
func (l *jobList) marks() []string { return marks(l.Statuses, l.Source, l.Model, l.Tag) }

// walk selects from the newest jobs, as many as depth.
func (l *jobList) walk(depth int) (string, []any) {
	var bounds, selected where
	l.andRange(&bounds, "seq")
	selected.args = bounds.args
	newest := bounds.String() + ` ORDER BY seq DESC LIMIT ` + strconv.Itoa(depth)
	from := `(SELECT seq, platform, id, status, source, model FROM jobs` + newest + `) j`
	if len(l.words) > 0 {
		from = `(SELECT seq, text FROM job_search` + newest + `) t CROSS JOIN jobs j`
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
	table, where, args := "jobs", "", []any(nil)
	if l.Tag != "" {
		table, where, args = "job_tags", "tag = $1 AND ", []any{storable(l.Tag)}
	}
	return strings.NewReplacer("{table}", table, "{where}", where, "{limit}", strconv.Itoa(l.maxKinds)).Replace(allKinds), args
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
	SELECT status, source, model FROM kinds WHERE model IS NOT NULL LIMIT {limit}`

func statusNames() (names []string) {
	for _, status := range tasks.Statuses() {
		names = append(names, string(status))
	}
	return names
}

// eachKind returns a query for the newest jobs of each kind, as rows of seq.
func (l *jobList) eachKind(kinds []jobKind, limit int) (query string, args []any) {
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
	newest := `SELECT i.seq FROM ` + table + ` i` + conditions.String() + ` ORDER BY i.seq DESC LIMIT ` + strconv.Itoa(limit)
	return `WITH kinds(status, source, model) AS (VALUES ` + tuples(len(kinds), 3) + `) SELECT j.seq FROM kinds k ` + l.dialect.forEach(newest), conditions.args
}

// newest selects the newest jobs of kinds.
func (l *jobList) newest(kinds []jobKind, limit int) (string, []any) {
	query, args := l.eachKind(kinds, limit)
	return query + ` ORDER BY j.seq DESC LIMIT ` + strconv.Itoa(limit), args
}

// countFew counts the jobs of kinds, up to one more than few.
func (l *jobList) countFew(kinds []jobKind) (string, []any) {
	limit := l.few + 1
	query, args := l.eachKind(kinds, limit)
	return `SELECT count(*) FROM (` + query + ` LIMIT ` + strconv.Itoa(limit) + `) counted`, args
}

// searchFew searches the jobs of each kind for the text.
func (l *jobList) searchFew(kinds []jobKind) (string, []any) {
	query, args := l.eachKind(kinds, l.few)
	selected := where{args: args}
	l.andText(&selected)
	return `SELECT j.seq FROM (` + query + `) j CROSS JOIN job_search t` + selected.String() + ` ORDER BY j.seq DESC LIMIT ` + strconv.Itoa(l.Limit), selected.args
}

// searchIndex selects jobs by the text index, and by one more condition on its rows unless
// that is empty.
func (l *jobList) searchIndex(condition string, args ...any) (string, []any) {
	var found, selected where
	found.andIf(condition != "", condition, args...)
	texts := l.words
	if len(l.rare) > 0 {
		texts = l.rare
		l.andContains(&found, l.words)
	}
	l.dialect.andFound(&found, slices.Concat(texts, l.marks()))
	l.andRange(&found, l.dialect.indexSeq)
	selected.args = found.args
	l.andSelected(&selected)
	return l.dialect.searchIndex(found, selected) + ` LIMIT ` + strconv.Itoa(l.Limit), selected.args
}
