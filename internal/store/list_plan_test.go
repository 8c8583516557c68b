package store

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/klinghook/klinghook/tasks"
)

// Lists must neither scan nor sort a whole table.
func TestListsUseTheirIndex(t *testing.T) {
	onEach(t, func(t *testing.T, s *Store) {
		now := s.dialect.time(time.Now())
		all := s.jobList(nil, JobQuery{})
		page := s.jobList(nil, JobQuery{Platform: "kling", Statuses: []tasks.Status{tasks.StatusFailed}, Source: "klingai", Model: "v1", Text: "a cat", Since: listStart, Until: listStart.Add(time.Hour), Before: 1})
		tagged := s.jobList(nil, JobQuery{Tag: "blue", Text: "a cat"})
		kinds := []jobKind{{tasks.StatusFailed, "klingai", "v1"}, {tasks.StatusLost, "klingai", "v1"}}
		letters := s.selected(DeadLetterFilter{})
		ofCause := s.selected(DeadLetterFilter{Kind: tasks.KindMediaDownload, Cause: "gone", Below: 9})
		events := EventQuery{Before: Position{listStart, "a"}, Type: "x"}.where(s.dialect)
		ofJob := EventQuery{Job: tasks.KlingJob("vid_1")}.where(s.dialect)
		type plan struct {
			name, query string
			args        []any
			indexes     []string // as named by SQLite and PostgreSQL; one name if they agree
		}
		query := func(name string, indexes []string, query string, args []any) plan {
			return plan{name, query, args, indexes}
		}
		built := func(name string, indexes []string, build func() (string, []any)) plan {
			text, args := build()
			return plan{name, text, args, indexes}
		}
		byKind, byTag := []string{"jobs_by_kind"}, []string{"job_tags_by_kind"}
		for _, p := range []plan{
			built("newest", []string{"SCAN jobs\n", "jobs_seq_key"}, func() (string, []any) { return all.walk(10) }),
			built("walk", []string{"job_search USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)", "job_search_pkey"}, func() (string, []any) { return page.walk(10) }),
			built("kinds", byKind, func() (string, []any) { return all.kindsQuery() }),
			built("kinds of a tag", byTag, func() (string, []any) { return tagged.kindsQuery() }),
			built("newest of kinds", byKind, func() (string, []any) { return page.newest(kinds, 10) }),
			built("newest of a tag", byTag, func() (string, []any) { return tagged.newest(kinds, 10) }),
			built("count", byKind, func() (string, []any) { return page.countFew(kinds) }),
			built("few", byKind, func() (string, []any) { return page.searchFew(kinds) }),
			built("text", []string{"f VIRTUAL TABLE INDEX", "job_search_index"}, func() (string, []any) { return tagged.searchIndex("") }),
			built("rare trigrams", []string{"f VIRTUAL TABLE INDEX", "job_search_index"}, func() (string, []any) {
				rare := *tagged
				rare.rare = []string{"cat", " ca"}
				return rare.searchIndex("")
			}),
			built("sample of text", []string{"f VIRTUAL TABLE INDEX", "job_search_sample"}, func() (string, []any) { return tagged.searchIndex(s.dialect.sample) }),
			query("tags", byTag, distinctTags, []any{10}),
			query("last change", []string{"jobs_by_change"}, lastChange, nil),
			query("changed jobs", []string{"jobs_by_change"}, changes, []any{now, 10}),
			query("changed files", []string{"media_by_change"}, changes, []any{now, 10}),
			query("new dead letters", []string{"dead_letters_by_time"}, changes, []any{now, 10}),
			query("ended dead letters", []string{"dead_letters_ended"}, changes, []any{now, 10}),
			query("deleted jobs", []string{"erasures_by_time"}, changes, []any{now, 10}),
			query("groups", []string{"dead_letters_open_by_kind"}, groupLetters(letters), letters.args),
			query("letters of a cause", []string{"dead_letters_open_by_kind"}, `SELECT * FROM dead_letters`+ofCause.String()+` ORDER BY id DESC LIMIT 50`, ofCause.args),
			query("newest letters", []string{"dead_letters_open_by_id"}, `SELECT * FROM dead_letters`+letters.String()+` ORDER BY id DESC LIMIT 50`, letters.args),
			query("events", []string{"events_by_time"}, listEvents+events.String()+` ORDER BY received_at DESC, id DESC LIMIT 50`, events.args),
			query("events of a job", []string{"events_by_job"}, listEvents+ofJob.String()+` ORDER BY received_at DESC, id DESC LIMIT 50`, ofJob.args),
		} {
			got, index := explain(t, s, p.query, p.args), p.indexes[0]
			if s.pool != nil {
				index = p.indexes[len(p.indexes)-1]
			}
			if !strings.Contains(got+"\n", index) || strings.Contains(got, "Seq Scan") {
				t.Errorf("%s does not use %s or scans a table:\n%s\n%s", p.name, index, p.query, got)
			}
			inOrder := s.pool == nil && slices.Contains([]string{"newest", "text", "letters of a cause", "newest letters", "events", "events of a job"}, p.name)
			if inOrder && strings.Contains(got, "TEMP B-TREE FOR ORDER BY") {
				t.Errorf("%s sorts:\n%s\n%s", p.name, p.query, got)
			}
		}
	})
}
