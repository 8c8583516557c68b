package store

import (
	"context"
	"database/sql"
	"regexp"
	"strconv"
	"strings"
)

// search contains how a database searches text.
type search struct {
	// position is the function that finds a text in another.
	position string
	// forEach joins, for each row k, the jobs j of a query that refers to k.
	forEach func(query string) string
	// indexed matches the trigrams that the text index has. It is searched for maxTrigrams of
	// them at most: each takes time, and the common ones exclude few jobs.
	indexed     *regexp.Regexp
	maxTrigrams int
	// indexSeq is the text index's name for seq, and andFound adds the condition that row t of
	// job_search contains some texts. It uses the index for those that have a trigram.
	indexSeq string
	andFound func(w *where, texts []string)
	// sample is the condition that selects a 64th of the jobs in the text index, and made the
	// one that selects those made between two times, in milliseconds. They are empty if the
	// text index returns the newest first.
	sample, made string
	// searchIndex selects the newest jobs j that match both groups of conditions.
	searchIndex func(found, selected where) string
}

func sqliteSearch() search {
	indexed := regexp.MustCompile(`^[0-9A-Za-z ]{3}$`)
	return search{
		indexed: indexed, maxTrigrams: 8,
		position: "instr",
		forEach: func(query string) string {
			return `CROSS JOIN jobs j ON j.seq IN (` + query + `)`
		},
		indexSeq: "f.rowid",
		andFound: func(w *where, texts []string) {
			trigrams := trigramsOf(texts, indexed)
			w.andIf(len(trigrams) > 0, "f.job_search_index MATCH ?", `"`+strings.Join(trigrams, `" AND "`)+`"`)
			for _, text := range texts {
				w.andIf(true, "instr(t.text, ?) > 0", text)
			}
		},
		// The index returns the newest first, and stops at the limit. Jobs are joined before
		// texts, so a job that is not selected costs one row less.
		searchIndex: func(found, selected where) string {
			both := where{conditions: append(found.conditions, selected.conditions...)}
			return `SELECT f.rowid FROM job_search_index f CROSS JOIN jobs j ON j.seq = f.rowid CROSS JOIN job_search t ON t.seq = f.rowid` +
				both.String() + ` ORDER BY f.rowid DESC`
		},
	}
}

func postgresSearch() search {
	return search{
		// Between two words there is none.
		indexed: regexp.MustCompile(`^([0-9A-Za-z]{2}[0-9A-Za-z ]| [0-9A-Za-z]{2})$`), maxTrigrams: 12,
		position: "strpos",
		forEach: func(query string) string {
			return `CROSS JOIN LATERAL (` + query + `) j`
		},
		indexSeq: "seq",
		// The indexes job_search_sample and job_search_made have these expressions. The planner
		// does not know the bounds, and expects few rows: it combines both indexes.
		sample: "seq % 64 = 0",
		made:   "seq >> " + strconv.Itoa(seqBits) + " BETWEEN (SELECT ?::BIGINT) AND (SELECT ?::BIGINT)",
		andFound: func(w *where, texts []string) {
			for _, text := range texts {
				w.andIf(true, "t.text LIKE ?", "%"+strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`).Replace(text)+"%")
			}
		},
		// The array makes PostgreSQL use the text index first. jobs_seq_key has all columns
		// that it then reads of most jobs.
		searchIndex: func(found, selected where) string {
			both := where{conditions: append([]string{"j.seq = ANY (ARRAY(SELECT seq FROM job_search t" + found.String() + "))"}, selected.conditions...)}
			return `SELECT j.seq FROM jobs j` + both.String() + ` ORDER BY j.seq DESC`
		},
	}
}

// reading calls f with a queryer for lists. Their steps are small and use indexes, but
// PostgreSQL expects more rows: it would spend longer on compiling a query than on running
// it, or join whole tables.
func (s *Store) reading(ctx context.Context, f func(queryer) error) error {
	if s.pool == nil {
		return f(s.reads)
	}
	return s.inTx(ctx, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, `
			SELECT set_config('jit', 'off', true), set_config('enable_seqscan', 'off', true),
				set_config('enable_hashjoin', 'off', true), set_config('enable_mergejoin', 'off', true)`); err != nil {
			return err
		}
		return f(tx)
	})
}
