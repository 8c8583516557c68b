package dashboard_test

import (
	"strings"
	"testing"
	"time"

	"github.com/klinghook/klinghook/internal/admin/dashboard"
	"github.com/klinghook/klinghook/internal/testenv"
	"github.com/klinghook/klinghook/tasks"
)

func TestListsSayWhichJobFailedAndWhy(t *testing.T) {
	w := newWorld(t)
	w.hear("881", tasks.TypeFailed, tasks.JobUpdate{Status: tasks.StatusFailed, ExternalID: "order-7", Error: "the prompt was refused"})
	w.bury("vid_gone", "cdn.example answered 404")
	pages := dashboard.New(w.cfg)
	for path, want := range map[string][]string{
		"/":            {`href="/jobs/881" title="order-7"`, `<span class="card-blank card-error"><bdi>the prompt was refused`},
		"/?view=table": {`href="/jobs/881" title="order-7"`, "<bdi>881</bdi>", "the prompt was refused"},
		"/jobs/881":    {"<bdi>order-7</bdi></h1>", "the prompt was refused"},
		"/failures":    {"<bdi>Sparks rise from a forge at night</bdi></a>", `<bdi class="mono">vid_gone</bdi>`, "cdn.example answered 404"},
	} {
		has(t, get(t, pages, path).Body.String(), want...)
	}
}

func TestListSaysIfNotAllJobsAreSearched(t *testing.T) {
	w := newWorld(t)
	w.fail("881", "A lighthouse at dawn", "refused")
	for path, want := range map[string]bool{"/?q=at+3D": true, "/?q=light+at": false, "/?q=灯": false, "/": false} {
		if body := get(t, dashboard.New(w.cfg), path).Body.String(); strings.Contains(body, "only the newest are searched") != want {
			t.Errorf("%s says that not all jobs are searched: %t, want %t", path, !want, want)
		}
	}
}

func TestListsMarkTestCallbacks(t *testing.T) {
	w := newWorld(t)
	w.fail("881", "A lighthouse at dawn", "refused") // without a job, the first steps are shown
	w.hear("882", tasks.TypeCreated, tasks.JobUpdate{Status: tasks.StatusCreated, MaybeTest: true})
	pages := dashboard.New(w.cfg)
	for _, path := range []string{"/", "/?view=table"} {
		body := get(t, pages, path).Body.String()
		has(t, body, `<span class="tag">Test callback</span>`)
		if strings.Contains(body, "Waiting for Kling") {
			t.Errorf("%s shows that a test callback waits", path)
		}
	}
	has(t, get(t, pages, "/jobs/882").Body.String(), "Test callback</span>")
}

func TestCardWithAPictureSaysWhatIsMissing(t *testing.T) {
	w := newWorld(t)
	w.hear("881", tasks.TypeCompleted, tasks.JobUpdate{Status: tasks.StatusCompleted, Model: "kling-v2-1", Costs: []tasks.Cost{{Amount: "0.28", Unit: "USD", Kind: "cash"}}, Media: []tasks.MediaLink{
		{Name: "video", URL: "https://cdn.example/v.mp4"}, {Name: "thumbnail", URL: "https://cdn.example/t.png"},
	}})
	files, err := w.store.MediaOf(t.Context(), tasks.KlingJob("881")) // by name
	testenv.NoError(t, err)
	files[0].Object, files[0].SHA256 = "881/thumbnail.png", strings.Repeat("0", 64)
	_, err = w.store.StoreMedia(t.Context(), files[0], time.Now(), func() error { return nil })
	testenv.NoError(t, err)
	_, err = w.store.MediaFailed(t.Context(), files[1], "410 Gone", time.Now())
	testenv.NoError(t, err)
	has(t, get(t, dashboard.New(w.cfg), "/").Body.String(),
		`<img src="/jobs/881/media/thumbnail`, `<bdi>File missing</bdi>`, `<bdi>kling-v2-1</bdi>`, `webhook</span>`, `<bdi>0.28 USD</bdi>`)
}
