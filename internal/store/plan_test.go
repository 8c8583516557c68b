package store

import (
	"database/sql"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/klinghook/klinghook/internal/testenv"
)

// onEach runs a test on an empty, migrated database of each kind.
func onEach(t *testing.T, f func(t *testing.T, s *Store)) {
	t.Helper()
	for name, url := range map[string]string{"sqlite": "sqlite:" + filepath.Join(t.TempDir(), "k.db"), "postgres": testenv.Postgres(t)} {
		t.Run(name, func(t *testing.T) {
			s, err := Create(t.Context(), url)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = s.Close() }()
			if _, err := s.Migrate(t.Context()); err != nil {
				t.Fatal(err)
			}
			f(t, s)
		})
	}
}

func TestConnectionsPlanEachTime(t *testing.T) {
	s, err := Open(t.Context(), testenv.Postgres(t))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	mode, err := one(t.Context(), s.db, scanOne[string], `SHOW plan_cache_mode`)
	if err != nil || mode != "force_custom_plan" {
		t.Errorf("plan_cache_mode is %q, %v", mode, err)
	}
}

// Queries that workers run all the time must not scan whole tables.
func TestQueriesUseTheirIndex(t *testing.T) {
	onEach(t, func(t *testing.T, s *Store) {
		now, prefix := s.dialect.time(time.Now()), EventFilter{IDPrefix: "klingai:ab"}.where()
		tests := []struct {
			query, index string
			args         []any
		}{
			{selectOwedEvents, "events_owed", []any{now, "", 10}},
			{`SELECT * FROM media ` + owedMedia, "media_owed", []any{now, "", "", 10}},
			{selectNotification + owedNotifications, "notifications_owed", []any{now, "", 10}},
			{countQuery(`media WHERE ` + expiring), "media_owed", []any{now}},
			{countQuery(jobsOfStatus), "jobs_by_status", []any{"created"}},
			{countQuery(openDeadLetters), "dead_letters_open_by_kind", []any{"media:download"}},
			{countQuery(unprocessedEvents), "events_owed", nil},
			{countQuery(pendingMedia), "media_owed", nil},
			{countQuery(pendingNotification), "notifications_owed", nil},
			{`SELECT id FROM events` + prefix.String(), "events_pkey", prefix.args},
		}
		for _, tt := range tests {
			plan, index := explain(t, s, tt.query, tt.args), tt.index
			if index == "events_pkey" && s.dialect.forUpdate == "" {
				index = "sqlite_autoindex_events_1 (id>? AND id<?)"
			}
			if !strings.Contains(plan, index) || strings.Contains(plan, "Seq Scan on "+strings.Split(index, "_")[0]) {
				t.Errorf("%s does not use %s:\n%s", tt.query, index, plan)
			}
			if tt.index == "events_pkey" && s.dialect.forUpdate != "" && !strings.Contains(plan, "Index Cond: ((id >=") {
				t.Errorf("%s is not a range of the primary key:\n%s", tt.query, plan)
			}
		}
	})
}

// explain returns the plan of a query on a table too large to scan.
func explain(t *testing.T, s *Store, query string, args []any) string {
	t.Helper()
	var plan string
	err := s.inTx(t.Context(), func(tx *sql.Tx) error {
		how := "EXPLAIN QUERY PLAN "
		if s.dialect.forUpdate != "" {
			how = "EXPLAIN "
			if _, err := tx.ExecContext(t.Context(), `SET LOCAL enable_seqscan = off`); err != nil {
				return err
			}
		}
		lines, err := collect(t.Context(), tx, func(row scanner) (line string, err error) {
			if s.dialect.forUpdate != "" {
				err = row.Scan(&line)
				return line, err
			}
			var ignored int
			err = row.Scan(&ignored, &ignored, &ignored, &line)
			return line, err
		}, how+query, args...)
		plan = strings.Join(lines, "\n")
		return err
	})
	if err != nil {
		t.Fatalf("explain %s: %v", query, err)
	}
	return plan
}
