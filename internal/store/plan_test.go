package store

import (
	"database/sql"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/klinghook/klinghook/internal/testenv"
	"github.com/klinghook/klinghook/tasks"
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

func TestConnectionsUseCustomPlans(t *testing.T) {
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
		key := tasks.KlingJob("vid_1")
		ofJob := EventFilter{Job: key}.where()
		letters := s.selected(DeadLetterFilter{Job: key, Ended: true})
		tagged := s.selectedJobs(JobFilter{Tag: "blue"})
		var jobs, media where
		jobs.andJobs("id", []tasks.JobKey{key, {Platform: "fal", ID: "vid_1"}, tasks.KlingJob("vid_2")})
		media.andJobs("job_id", []tasks.JobKey{key})
		tests := []struct {
			query, index string
			args         []any
		}{
			{selectOwedEvents, "events_owed", []any{now, "", 10}},
			{`SELECT * FROM media ` + owedMedia, "media_owed", []any{now, "", "", "", 10}},
			{selectNotification + owedNotifications, "notifications_owed", []any{"a", now, "", 10}},
			{pendingDestinations, "notifications_owed", []any{now}},
			{countQuery(pendingOf), "notifications_owed", []any{"a"}},
			{countQuery(`media WHERE ` + expiring), "media_owed", []any{now}},
			{countQuery(jobsOfStatus), "jobs_by_kind", []any{"created"}},
			{countQuery(openDeadLetters), "dead_letters_open_by_kind", []any{"media:download"}},
			{countQuery(unprocessedEvents), "events_owed", nil},
			{countQuery(pendingMedia), "media_owed", nil},
			{countQuery(pendingNotifications), "notifications_owed", nil},
			{`SELECT id FROM events` + prefix.String(), "events_pkey", prefix.args},
			{`SELECT * FROM events` + ofJob.String() + ` ORDER BY received_at DESC`, "events_by_job", ofJob.args},
			{`SELECT * FROM dead_letters` + letters.String(), "dead_letters_by_job", letters.args},
			{`SELECT * FROM jobs` + jobs.String() + ` ORDER BY platform, id` + s.dialect.forUpdate, "jobs_pkey", jobs.args},
			{`SELECT * FROM media` + media.String(), "media_pkey", media.args},
			{`SELECT * FROM jobs` + tagged.String() + ` ORDER BY last_received_at DESC LIMIT 50`, "job_tags_by_kind", tagged.args},
			{`SELECT id FROM events e WHERE id = 'x' AND ` + prunableEvent, "events_owed_by_job", nil},
			{`SELECT platform, job_id FROM erasures WHERE expires_at < $1 LIMIT 10`, "erasures_by_expiry", []any{now}},
			{taskAttemptsOf, "task_attempts_pkey", []any{"kling", "vid_1", "media:download:vid_1:", "media:download:vid_1:~"}},
			{dueErasures, "erasures_due", []any{now, 10}},
			{dueObjects, "doomed_objects_by_time", []any{now, 10}},
			{agedFiles, "media_stored", []any{now, now, "", "", "", 10}},
			{staleJobs, "jobs_never_looked_up", []any{"kling", now, now, 10}},
			{staleJobs, "jobs_to_look_up", []any{"kling", now, now, 10}},
			{possibleTests, "jobs_perhaps_tests", []any{"kling", now, now, 10}},
			{jobsWithoutMedia, "jobs_without_media", []any{"kling", now, 10}},
			{countQuery(requestedLookups), "lookup_requests_by_time", []any{"kling"}},
			{countQuery(neverLookedUp), "jobs_never_looked_up", []any{"kling", now}},
			{countQuery(dueAgain), "jobs_to_look_up", []any{"kling", now, now}},
			{countQuery(dueWithoutMedia), "jobs_without_media", []any{"kling", now}},
		}
		for _, tt := range tests {
			plan, index := explain(t, s, tt.query, tt.args), tt.index
			if table, isKey := strings.CutSuffix(index, "_pkey"); isKey && s.dialect.forUpdate == "" {
				columns := map[string]string{"events": "id>? AND id<?", "jobs": "platform=? AND id=?", "media": "platform=? AND job_id=?", "task_attempts": "task_id=?"}
				index = "sqlite_autoindex_" + table + "_1 (" + columns[table] + ")"
			}
			if !strings.Contains(plan, index) || strings.Contains(plan, "Seq Scan on ") || strings.Contains(plan, "SCAN task_attempts") {
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
