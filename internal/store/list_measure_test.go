package store

import (
	"context"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/klinghook/klinghook/internal/testenv"
	"github.com/klinghook/klinghook/tasks"
)

// TestMeasureLists times lists in a large database. It needs MEASURE_LISTS, the number of
// jobs; MEASURE_DATABASE is the URL of a database to keep.
//
//	MEASURE_LISTS=1000000 go test -run TestMeasureLists -timeout 60m -v ./internal/store
func TestMeasureLists(t *testing.T) {
	n, err := strconv.Atoi(os.Getenv("MEASURE_LISTS"))
	if err != nil {
		t.Skip("MEASURE_LISTS is not the number of jobs to make")
	}
	urls := []string{os.Getenv("MEASURE_DATABASE")}
	if urls[0] == "" {
		urls = []string{"sqlite:" + filepath.Join(t.TempDir(), "k.db"), testenv.Postgres(t)}
	}
	for _, url := range urls {
		name, _, _ := strings.Cut(url, ":")
		t.Run(name, func(t *testing.T) {
			s, err := Create(t.Context(), url)
			testenv.NoError(t, err)
			defer func() { testenv.NoError(t, s.Close()) }()
			_, err = s.Migrate(t.Context())
			testenv.NoError(t, err)
			makeJobs(t, s, n)
			limit := 100 * time.Millisecond
			if s.pool != nil {
				limit = 50 * time.Millisecond
			}
			for _, tt := range measuredLists(n) {
				measure(t, tt.name, limit, func(ctx context.Context) (int, error) {
					rows, err := s.ListJobs(ctx, tt.query)
					return len(rows), err
				})
			}
			measureRandom(t, s, limit)
			measure(t, "facets", limit, func(ctx context.Context) (int, error) {
				f, err := s.Facets(ctx)
				return len(f.Models) + len(f.Sources) + len(f.Tags), err
			})
			measure(t, "no changes", limit, func(ctx context.Context) (int, error) {
				list, err := s.Changes(ctx, measureStart.Add(time.Hour), 1000)
				return len(list), err
			})
			measure(t, "dead letter groups", limit, func(ctx context.Context) (int, error) {
				groups, err := s.DeadLetterGroups(ctx, DeadLetterFilter{})
				return len(groups), err
			})
			measure(t, "newest dead letters of a cause", limit, func(ctx context.Context) (int, error) {
				list, err := s.DeadLetters(ctx, DeadLetterFilter{Kind: tasks.KindMediaDownload, Cause: "cause 3", Newest: true, Outline: true, Limit: 50})
				return len(list), err
			})
			measure(t, "dead letters by text", limit, func(ctx context.Context) (int, error) {
				list, err := s.DeadLetters(ctx, DeadLetterFilter{Text: "nothing has this", Newest: true, Outline: true, Limit: 50})
				return len(list), err
			})
		})
	}
}

// measure calls f some times and prints the least, median and longest time.
func measure(t *testing.T, name string, limit time.Duration, f func(context.Context) (int, error)) {
	t.Helper()
	var times []time.Duration
	var rows int
	for range 15 {
		start := time.Now()
		n, err := f(t.Context())
		testenv.NoError(t, err)
		times, rows = append(times, time.Since(start)), n
	}
	slices.Sort(times)
	least, median, longest := times[0], times[len(times)/2], times[len(times)-1]
	mark := ""
	if longest > limit {
		mark = " SLOW"
	}
	t.Logf("%-50s %3d rows  min %6.1f ms  p50 %6.1f ms  max %6.1f ms%s", name, rows, least.Seconds()*1000, median.Seconds()*1000, longest.Seconds()*1000, mark)
}

// measureRandom times lists for random words of prompts, some with a filter: words of many
// prompts or of one, and parts of one.
func measureRandom(t *testing.T, s *Store, limit time.Duration) {
	t.Helper()
	prompts, err := collect(t.Context(), s.db, scanOne[string], `SELECT j.prompt FROM job_tags t JOIN jobs j ON j.platform = t.platform AND j.id = t.job_id WHERE t.tag = 'tag-59' ORDER BY j.id LIMIT 2000`)
	testenv.NoError(t, err)
	r := rand.New(rand.NewPCG(7, 7))
	prompt := func() []string { return strings.Fields(prompts[r.IntN(len(prompts))]) }
	var times []time.Duration
	var slow int
	var slowest string
	for range 400 {
		words := prompt()
		switch n := 1 + r.IntN(8); r.IntN(4) {
		case 0:
			from := r.IntN(len(words))
			words = words[from:min(from+8+n, len(words))]
		case 1:
			r.Shuffle(len(words), func(i, j int) { words[i], words[j] = words[j], words[i] })
			words = words[:min(n, len(words))]
		default:
			words = nil
			for range n {
				words = append(words, pick(r, prompt()...))
			}
		}
		q := JobQuery{Text: strings.Join(words, " ")}
		switch r.IntN(5) {
		case 0:
			q.Statuses = []tasks.Status{tasks.StatusFailed}
		case 1:
			q.Model = "kling-v1-3"
		case 2:
			q.Tag = fmt.Sprintf("tag-%d", r.IntN(60))
		}
		best := time.Hour // of three, because the first also reads from the disk
		for range 3 {
			start := time.Now()
			_, err := s.ListJobs(t.Context(), q)
			testenv.NoError(t, err)
			best = min(best, time.Since(start))
		}
		if times = append(times, best); best > limit {
			slow++
		}
		if best == slices.Max(times) {
			slowest = q.Text
		}
	}
	slices.Sort(times)
	t.Logf("400 lists with random words: p50 %.1f ms, max %.1f ms (%.100q), %d above %s", times[200].Seconds()*1000, times[399].Seconds()*1000, slowest, slow, limit)
}

// measureStart is the time of the newest job; there is one each second.
var measureStart = time.Date(2026, 7, 1, 0, 0, 0, 0, time.UTC)

func measuredLists(n int) []struct {
	name  string
	query JobQuery
} {
	at := func(part float64) time.Time { return measureStart.Add(-time.Duration(part*float64(n)) * time.Second) }
	failed, lost := []tasks.Status{tasks.StatusFailed}, []tasks.Status{tasks.StatusLost}
	return []struct {
		name  string
		query JobQuery
	}{
		{"all", JobQuery{}},
		{"deep cursor", JobQuery{Before: firstSeq(at(0.9))}},
		{"common status", JobQuery{Statuses: []tasks.Status{tasks.StatusCompleted}}},
		{"two statuses", JobQuery{Statuses: []tasks.Status{tasks.StatusFailed, tasks.StatusCancelled}}},
		{"rare status", JobQuery{Statuses: []tasks.Status{tasks.StatusTest}}},
		{"status, source and model", JobQuery{Statuses: failed, Source: "klingai", Model: "kling-v1-6"}},
		{"model that is no more used", JobQuery{Model: "kling-v1"}},
		{"unknown model", JobQuery{Model: "none"}},
		{"old model of a new source", JobQuery{Model: "kling-v1", Source: "official-v2"}},
		{"common tag", JobQuery{Tag: "tag-0"}},
		{"rare tag", JobQuery{Tag: "tag-59"}},
		{"tag that never failed", JobQuery{Tag: "safe", Statuses: failed}},
		{"tag and model never together", JobQuery{Tag: "safe", Model: "kling-v2-master"}},
		{"unknown tag", JobQuery{Tag: "none"}},
		{"failed, deep, of a week", JobQuery{Statuses: failed, Since: at(0.9), Until: at(0.5)}},
		{"lost with a tag, of an hour", JobQuery{Statuses: lost, Tag: "tag-3", Since: at(0.5), Until: at(0.49)}},
		{"common word", JobQuery{Text: "cinematic"}},
		{"rare word", JobQuery{Text: "word1999"}},
		{"two words", JobQuery{Text: "lanternfest cinematic"}},
		{"two common words", JobQuery{Text: "cinematic word29"}},
		{"common words", JobQuery{Text: "cinematic word9 word19 word29"}},
		{"six words", JobQuery{Text: "tanphador lonugre kagreves gremirsun mirgrepha sunveslo"}},
		{"eight common words", JobQuery{Text: "phasunka greridor lokael vessun elgre gretan tanka word9"}},
		{"part of a prompt", JobQuery{Text: "ka dortan elves ritanves word39 tanvestan tantansun elgre gre vesgre"}},
		{"words never together", JobQuery{Text: "cinematic carnival word1999"}},
		{"unknown word of common trigrams", JobQuery{Text: "cinemaword"}},
		{"word of the past", JobQuery{Text: "lanternfest"}},
		{"word of the past, unknown status", JobQuery{Text: "lanternfest", Statuses: lost}},
		{"word of the past, failed", JobQuery{Text: "lanternfest", Statuses: failed}},
		{"word of the past, new model", JobQuery{Text: "lanternfest", Model: "kling-v2-master"}},
		{"frequent word of the past", JobQuery{Text: "carnival"}},
		{"frequent word of the past, failed", JobQuery{Text: "carnival", Statuses: failed}},
		{"frequent word of the past, new model", JobQuery{Text: "carnival", Model: "kling-v2-master"}},
		{"frequent word of the past, tag that never failed", JobQuery{Text: "carnival", Tag: "safe", Statuses: failed}},
		{"frequent word of the past, rare tag", JobQuery{Text: "carnival", Tag: "tag-59"}},
		{"common word, old model", JobQuery{Text: "cinematic", Model: "kling-v1"}},
		{"common word, rare tag", JobQuery{Text: "cinematic", Tag: "tag-59"}},
		{"rare word, common status", JobQuery{Text: "word1999", Statuses: []tasks.Status{tasks.StatusCompleted}}},
		{"common word, deep cursor", JobQuery{Text: "cinematic", Before: firstSeq(at(0.8))}},
		{"common Chinese word", JobQuery{Text: "电影"}},
		{"rare Chinese word", JobQuery{Text: "灯笼节"}},
		{"unknown Chinese word", JobQuery{Text: "没有人"}},
		{"id", JobQuery{Text: fmt.Sprintf("vid_%08d", n/3)}},
		{"part of many ids", JobQuery{Text: "vid_00"}},
		{"two letters", JobQuery{Text: "zq"}},
		{"two letters, failed", JobQuery{Text: "zq", Statuses: failed}},
		{"only signs", JobQuery{Text: "%_%"}},
		{"error", JobQuery{Text: "risk control", Statuses: failed}},
		{"error of completed jobs", JobQuery{Text: "risk control", Statuses: []tasks.Status{tasks.StatusCompleted}}},
	}
}

// makeJobs fills an empty database with n jobs, one file for a quarter of them, and n/10
// open dead letters.
func makeJobs(t *testing.T, s *Store, n int) {
	if old, err := one(t.Context(), s.db, scanOne[int], `SELECT count(*) FROM jobs`); err != nil || old >= n {
		testenv.NoError(t, err)
		return
	}
	start, r := time.Now(), rand.New(rand.NewPCG(1, 2))
	zipf := rand.NewZipf(r, 1.1, 5, 1999)
	for i := 0; i < n; i += 5000 {
		testenv.NoError(t, s.inTx(t.Context(), func(tx *sql.Tx) error {
			return makeBatch(t.Context(), tx, s.dialect, r, zipf, i, min(i+5000, n), n)
		}))
	}
	if s.pool != nil {
		_, err := s.db.ExecContext(t.Context(), `VACUUM ANALYZE`)
		testenv.NoError(t, err)
	}
	t.Logf("made %d jobs in %s", n, time.Since(start).Round(time.Second))
}

func makeBatch(ctx context.Context, tx *sql.Tx, d dialect, r *rand.Rand, zipf *rand.Zipf, from, to, n int) error {
	var jobs, tags, texts, files, letters [][]any
	facts := `{"first":{"created":{"at":"2026-07-01T00:00:00Z","event":"klingai:x"}},"filler":"` + strings.Repeat("x", 400) + `"}`
	for i := from; i < to; i++ {
		at := measureStart.Add(-time.Duration(n-i) * time.Second)
		job := Job{Key: tasks.KlingJob(fmt.Sprintf("vid_%08d", i)), Source: "klingai", Model: fmt.Sprintf("kling-v1-%d", r.IntN(8)), Status: tasks.StatusCompleted}
		part := float64(i) / float64(n)
		if part > 0.7 && r.IntN(2) == 0 {
			job.Source = "official-v2"
		}
		switch {
		case part < 0.3:
			job.Model = "kling-v1"
		case part > 0.5 && r.IntN(3) == 0:
			job.Model = "kling-v2-master"
		}
		switch x := r.IntN(1000); {
		case x < 60:
			job.Status, job.Error = tasks.StatusFailed, pick(r, "the prompt hit the risk control", "server is busy", "image too large")
		case x < 80:
			job.Status = tasks.StatusCancelled
		case x < 90:
			job.Status = tasks.StatusProcessing
		case x < 93:
			job.Status = tasks.StatusLost
		case x == 999 && i%100 == 0:
			job.Status = tasks.StatusTest
		}
		job.Prompt = somePrompt(r, zipf, part)
		if r.IntN(2) == 0 {
			job.Tags = []string{fmt.Sprintf("tag-%d", min(zipf.Uint64(), 59))}
		}
		if job.Model != "kling-v2-master" && job.Status != tasks.StatusFailed && r.IntN(3) == 0 {
			job.Tags = append(job.Tags, "safe")
		}
		seq, when := d.newSeq(at), d.time(at)
		jobs = append(jobs, []any{seq, job.Key.Platform, job.Key.ID, job.Status, job.Prompt, job.Model, job.Error, job.Source, when, when, when, facts})
		texts = append(texts, []any{seq, searchText(job)})
		for _, tag := range job.Tags {
			tags = append(tags, []any{job.Key.Platform, job.Key.ID, tag, job.Status, job.Source, job.Model, seq})
		}
		if i%4 == 0 {
			files = append(files, []any{job.Key.Platform, job.Key.ID, "video", "https://cdn.example/v.mp4", when, `[{"url":"https://cdn.example/v.mp4","stamp":{"event":"x"}}]`, MediaStored, when, when})
		}
		if i%10 == 0 {
			letters = append(letters, []any{job.Key.ID, tasks.KindMediaDownload, []byte(strings.Repeat("x", 500)), job.Key.Platform, job.Key.ID, "download video of " + job.Key.ID + ": cdn.example answered 404 Not Found", "cause " + strconv.Itoa(r.IntN(30)), when, DeadLetterDead})
		}
	}
	for _, table := range []struct {
		insert string
		rows   [][]any
	}{
		{`jobs (seq, platform, id, status, prompt, model, error, source, first_received_at, last_received_at, changed_at, facts)`, jobs},
		{`job_search (seq, text)`, texts},
		{`job_tags (platform, job_id, tag, status, source, model, seq)`, tags},
		{`media (platform, job_id, name, url, linked_at, links, state, created_at, updated_at)`, files},
		{`dead_letters (task_id, kind, payload, platform, job_id, error, cause, failed_at, state)`, letters},
	} {
		if _, err := insertRows(ctx, tx, d, scanOne[int], `INSERT INTO `+table.insert, table.rows, `RETURNING 1`); err != nil {
			return fmt.Errorf("%s: %w", table.insert, err)
		}
	}
	return nil
}

// somePrompt returns a prompt of 8 to 40 words, some of them in Chinese.
func somePrompt(r *rand.Rand, zipf *rand.Zipf, part float64) string {
	var words []string
	for range 8 + r.IntN(32) {
		words = append(words, vocabulary[zipf.Uint64()])
	}
	if r.IntN(5) == 0 {
		words = append(words, "cinematic")
	}
	if r.IntN(5) == 0 {
		words = words[:4]
		for range 20 + r.IntN(40) {
			words = append(words, string(rune(0x4e00+zipf.Uint64())))
		}
		if r.IntN(4) == 0 {
			words = append(words, "电影")
		}
		words = []string{strings.Join(words, "")}
	}
	if part > 0.3 && part < 0.5 && r.IntN(10) == 0 {
		words = append(words, pick(r, "lanternfest", "灯笼节"))
	}
	if part > 0.3 && part < 0.5 && r.IntN(2) == 0 {
		words = append(words, "carnival")
	}
	return strings.Join(words, " ")
}

// vocabulary are words of one to three syllables and a number.
var vocabulary = func() (words []string) {
	r := rand.New(rand.NewPCG(3, 4))
	for i := range 2000 {
		word := ""
		for range 1 + r.IntN(3) {
			word += pick(r, "ka", "lo", "mir", "tan", "ves", "ri", "sun", "dor", "el", "pha", "gre", "nu")
		}
		if i%10 == 9 {
			word = fmt.Sprintf("word%d", i)
		}
		words = append(words, word)
	}
	return words
}()
