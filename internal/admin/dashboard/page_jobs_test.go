package dashboard

import (
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/klinghook/klinghook/internal/store"
	"github.com/klinghook/klinghook/tasks"
)

func TestJobFiltersAreInTheURL(t *testing.T) {
	query, err := url.ParseQuery("q=+cat+%26+dog&status=failed&model=a%22b&since=2026-01-30&until=2026-01-31&view=table&before=7")
	if err != nil {
		t.Fatal(err)
	}
	f, err := parseJobFilter(query)
	if err != nil {
		t.Fatal(err)
	}
	want := store.JobQuery{
		Text: "cat & dog", Statuses: []tasks.Status{tasks.StatusFailed}, Model: `a"b`, Before: 7,
		Since: time.Date(2026, 1, 30, 0, 0, 0, 0, time.UTC), Until: time.Date(2026, 2, 1, 0, 0, 0, 0, time.UTC),
	}
	if diff := cmp.Diff(want, f.query()); diff != "" {
		t.Errorf("query (-want +got):\n%s", diff)
	}
	if got, want := f.link("status", ""), "/?model=a%22b&q=cat+%26+dog&since=2026-01-30&until=2026-01-31&view=table"; got != want {
		t.Errorf("without the status: %s, want %s", got, want)
	}
	if f.Narrowed() != 3 || !f.Filtered() || f.selectsAll() || !f.Paged() {
		t.Errorf("the filter describes itself as %d, %t, %t, %t", f.Narrowed(), f.Filtered(), f.selectsAll(), f.Paged())
	}
	if all, err := parseJobFilter(url.Values{"view": {"table"}}); err != nil || !all.selectsAll() || all.Filtered() {
		t.Errorf("the table of all jobs is %+v, %v", all, err)
	}
	for _, bad := range []string{"status=odd", "since=yesterday", "until=2026-13-01", "before=x", "after=1.5"} {
		query, err := url.ParseQuery(bad)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := parseJobFilter(query); err == nil {
			t.Errorf("%s is accepted", bad)
		}
	}
}

func TestTimelineShowsWhatHappened(t *testing.T) {
	at := func(second int) time.Time { return time.Date(2026, 1, 31, 12, 0, second, 0, time.UTC) }
	detail := JobDetail{
		Job: Job{Platform: "kling", ID: "a"},
		Events: []Event{ // the last received first
			{Type: "video.created", Source: "klingai", ReceivedAt: at(5), ProcessedAt: at(6), Late: true, RepeatedAt: []time.Time{at(19)}},
			{Type: "video.completed", Source: "lookup", ReceivedAt: at(2)},
			{Type: "video.processing", Source: "klingai-official", ReceivedAt: at(1), ProcessedAt: at(1).Add(12 * time.Millisecond), Repeat: true},
		},
		Lookups: Lookups{TrackedAt: at(0), RequestedAt: at(15), Answers: []LookupAnswer{
			{At: at(3), DurationSeconds: 0.05, Outcome: "found"}, {At: at(4), DurationSeconds: 10, Outcome: "failed", Error: "Kling answered 500"}, {At: at(6), DurationSeconds: 0.2, Outcome: "unknown"},
		}},
		Notifications: []Notification{
			{Type: "video.completed", Destination: "chat", State: "sent", Attempts: []SendAttempt{{At: at(7), DurationSeconds: 0.2, Status: 503, Error: "it is busy", Answer: "come back later"}, {At: at(6), DurationSeconds: 2, Status: 200, Answer: "ok"}}},
			{Type: "video.created", Destination: "mail", State: "pending", CreatedAt: at(9)},
			{Type: "video.failed", Destination: "mail", State: "sent", CreatedAt: at(9), SentAt: at(10)},
		},
		Attempts: []TaskAttempt{
			{TaskID: "event:record:klingai:1", Attempt: 1, At: at(5), DurationSeconds: 0.01, Error: "Redis is away"}, {TaskID: "notify:send:n1", Attempt: 1, At: at(7), Error: "busy"},
			{TaskID: "media:download:a:audio:00ff00ff", Attempt: 1, At: at(5), DurationSeconds: 3, Size: 2500},
			{TaskID: "media:download:a:thumbnail:00ff00ff", Attempt: 2, At: at(-19), DurationSeconds: 30, Error: "timeout"},
		},
		DeadLetters: []DeadLetter{{
			Kind: "media:download", TaskID: "media:download:a:video:00ff00ff+2", Error: "404", FailedAt: at(13), State: "replayed", EndedAt: at(14),
			Failures: []store.Failure{{Attempt: 1, At: at(12), DurationSeconds: 0.3, Error: "404"}, {Attempt: 2, At: at(13), DurationSeconds: 0.4, Error: "404"}},
		}},
	}
	files := []store.Media{
		{Name: "thumbnail", State: store.MediaPending, UpdatedAt: at(16), Error: "get https://cdn.example/t?sig=1"},
		{Name: "video", State: store.MediaFailed, UpdatedAt: at(13)},
		{Name: "video-2", State: store.MediaFailed, UpdatedAt: at(17), Error: "gone"},
		{Name: "image", State: store.MediaStored, CreatedAt: at(3), StoredAt: at(4), Size: 1500},
		{Name: "audio", State: store.MediaDeleted, StoredAt: at(10), UpdatedAt: at(18)},
	}
	var got []string
	for _, m := range timeline(detail, files) {
		got = append(got, strings.Join([]string{m.At.Format("05"), m.State, m.Title, m.Text, m.Took, strings.Join(m.Marks, "+")}, "|"))
	}
	want := []string{
		"00|created|A program tracked the job|||",
		"01|late|Delivery video.processing (callback)||recorded in 12 ms|repeat",
		"02|pending|Look-up: Kling says completed|||not recorded yet",
		"03|ok|Look-up: Kling answered||took 50 ms|",
		"04|stored|Stored image, 1.5 kB||1.0 s after its link|",
		"04|retry|Look-up failed|Kling answered 500|took 10.0 s|",
		"05|late|Delivery video.created (webhook)||recorded in 1.0 s|late",
		"05|retry|Attempt 1 to record an event failed|Redis is away|took 10 ms|",
		"06|late|Look-up: Kling does not know this job||took 200 ms|",
		"07|failed|Notification video.completed to chat failed: 503|it is busy: come back later|took 200 ms|",
		"08|sent|Notification video.completed to chat: 200|ok|took 2.0 s|",
		"08|stored|Stored audio, 2.5 kB||took 3.0 s|",
		"09|pending|Notification video.created to mail waits|||",
		"10|sent|Notification video.failed to mail||1.0 s after its event|",
		"11|retry|Attempt 2 to download thumbnail failed|timeout|took 30.0 s|",
		"12|retry|Attempt 1 to download video failed|404|took 300 ms|",
		"13|failed|Gave up: download video|404|took 400 ms|replayed",
		"14|replayed|Failure replayed: download video|||",
		"15|pending|Look-up requested|||",
		"16|pending|Waiting to download thumbnail|get https://cdn.example/t?…||",
		"17|failed|Gave up on a link to video-2|gone||",
		"18|deleted|Deleted audio because of its age|||",
		"19|late|Delivery video.created (webhook)|||repeat",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("timeline (-want +got):\n%s", diff)
	}
}

// A file that was deleted because of its age is not missing.
func TestDeletedFileIsNotMissing(t *testing.T) {
	d := new(dashboard)
	for state, want := range map[store.MediaState]string{store.MediaDeleted: "Deleted because of its age", store.MediaFailed: "File missing"} {
		key := tasks.KlingJob("a")
		row := store.JobRow{Job: store.Job{Key: key, Status: tasks.StatusCompleted}, Media: []store.Media{{Job: key, Name: "video", State: state}}}
		if blank, missing := d.card(row).Blank, d.listedJob(row).VideoMissing; blank != want || missing != (state == store.MediaFailed) {
			t.Errorf("%s: the card says %q and video_missing is %t", state, blank, missing)
		}
	}
}

func TestCompletedJobSaysThatItsVideoIsNotStored(t *testing.T) {
	d := new(dashboard)
	for _, tt := range []struct {
		name string
		file store.Media
		want string
	}{
		{"first attempt", store.Media{Name: "video", State: store.MediaPending}, "Downloading"},
		{"after a failed attempt", store.Media{Name: "video", State: store.MediaPending, Error: "401"}, "Download failing"},
		{"given up", store.Media{Name: "video", State: store.MediaFailed}, "File missing"},
		{"stored", store.Media{Name: "video", State: store.MediaStored}, ""},
		{"thumbnail", store.Media{Name: "thumbnail", State: store.MediaFailed}, ""},
	} {
		row := store.JobRow{Job: store.Job{Status: tasks.StatusCompleted}, Media: []store.Media{tt.file, {Name: "thumbnail", State: store.MediaStored, Object: "t.png"}}}
		if got := d.card(row).Missing; got != tt.want {
			t.Errorf("%s: the card says %q, want %q", tt.name, got, tt.want)
		}
	}
}

func TestWorkOfAnyTask(t *testing.T) {
	for id, want := range map[string]string{
		"media:download:a:video-2:00ff00ff": "download video-2", "media:find:a": "find a missing file", "notify:send:n1+3": "send a notification",
		"event:record:klingai:e1": "record an event", "media:download": "do a task", "": "do a task",
	} {
		if got := workOf(id); got != want {
			t.Errorf("workOf(%q) = %q, want %q", id, got, want)
		}
	}
}
