package worker_test

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"

	"github.com/klinghook/klinghook/internal/store"
	"github.com/klinghook/klinghook/tasks"
)

// TestDeadLinkIsRenewed holds that a link which has died is replaced by asking Kling,
// once in an attempt.
func TestDeadLinkIsRenewed(t *testing.T) {
	for _, status := range []int{http.StatusForbidden, http.StatusNotFound, http.StatusGone} {
		t.Run(http.StatusText(status), func(t *testing.T) {
			w := newWaiting(t, miniredis.RunT(t).Addr())
			old := fmt.Sprintf(completedBody, w.cdn.URL)
			fresh := strings.Replace(old, "/v.mp4", "/v.mp4?fresh=1", 1)
			w.kling.tasks["881"] = fresh
			serve := w.serve
			w.serve = func(rw http.ResponseWriter, r *http.Request) {
				if r.URL.RawQuery == "" {
					rw.WriteHeader(status)
					return
				}
				serve(rw, r)
			}
			w.deliver(t, "klingai-official", "msg_1", tasks.TypeCompleted, "881", old)
			w.work(t)
			if m, err := w.store.Medium(t.Context(), "881", "video"); err != nil || m.State != store.MediaStored {
				t.Errorf("video is %s (%s), %v; want it stored from the fresh link", m.State, m.Error, err)
			}
			if asked := w.kling.taken(); !slices.Equal(asked, []string{"881"}) {
				t.Errorf("asked %q, want once", asked)
			}
			if list := w.deadLetters(t); len(list) > 0 {
				t.Errorf("%d dead letters, want none", len(list))
			}
		})
	}
}

// TestLinkAheadOfItsFile holds that a link which is not there yet, and which Kling gives
// still, is tried again, and asked about once in each attempt.
func TestLinkAheadOfItsFile(t *testing.T) {
	for _, status := range []int{http.StatusForbidden, http.StatusNotFound, http.StatusGone} {
		t.Run(http.StatusText(status), func(t *testing.T) {
			w := newWaiting(t, miniredis.RunT(t).Addr())
			body := fmt.Sprintf(completedBody, w.cdn.URL)
			w.kling.tasks["881"] = body
			serve, early := w.serve, 2
			w.serve = func(rw http.ResponseWriter, r *http.Request) {
				if early--; early >= 0 {
					rw.WriteHeader(status)
					return
				}
				serve(rw, r)
			}
			w.deliver(t, "klingai-official", "msg_1", tasks.TypeCompleted, "881", body)
			for range 3 {
				w.work(t)
				w.runRetries(t, tasks.QueueMedia)
			}
			if m, err := w.store.Medium(t.Context(), "881", "video"); err != nil || m.State != store.MediaStored {
				t.Errorf("video is %s (%s), %v; want it stored when it was there", m.State, m.Error, err)
			}
			if asked := w.kling.taken(); !slices.Equal(asked, []string{"881", "881"}) {
				t.Errorf("asked %q, want once in each of two attempts", asked)
			}
			if list := w.deadLetters(t); len(list) > 0 {
				t.Errorf("%d dead letters, want none", len(list))
			}
		})
	}
}

// TestDeadLinkOfStoredFileIsNoFailure stores the file from a newer link while Kling is
// asked about the old one.
func TestDeadLinkOfStoredFileIsNoFailure(t *testing.T) {
	w := newWaiting(t, miniredis.RunT(t).Addr())
	old := fmt.Sprintf(completedBody, w.cdn.URL)
	fresh := strings.Replace(old, "/v.mp4", "/v.mp4?fresh=1", 1)
	serve := w.serve
	w.serve = func(rw http.ResponseWriter, r *http.Request) {
		if r.URL.RawQuery == "" {
			rw.WriteHeader(http.StatusNotFound)
			return
		}
		serve(rw, r)
	}
	w.kling.set(func(k *fakeKling) {
		k.answer = func(int) string {
			w.deliver(t, "klingai-official", "msg_2", tasks.TypeCompleted, "881", fresh)
			tick := time.NewTicker(10 * time.Millisecond)
			defer tick.Stop()
			for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); <-tick.C {
				if m, err := w.store.Medium(t.Context(), "881", "video"); err == nil && m.State == store.MediaStored {
					return fresh
				}
			}
			t.Error("the file of the newer link was not stored")
			return fresh
		}
	})
	w.deliver(t, "klingai-official", "msg_1", tasks.TypeCompleted, "881", old)
	w.work(t)
	if list := w.deadLetters(t); len(list) > 0 {
		t.Errorf("%d dead letters, want none", len(list))
	}
}

// TestFreshLinksAreDeadToo holds that a file which no link serves ends as a dead
// letter, though Kling signs another link each time that it is asked, and that each
// attempt asks once.
func TestFreshLinksAreDeadToo(t *testing.T) {
	t.Parallel()
	for _, status := range []int{http.StatusForbidden, http.StatusNotFound} {
		t.Run(http.StatusText(status), func(t *testing.T) {
			t.Parallel()
			w := newWaiting(t, miniredis.RunT(t).Addr())
			w.serve = func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(status) }
			w.kling.set(func(k *fakeKling) {
				k.answer = func(n int) string { return fmt.Sprintf(completedBody, fmt.Sprintf("%s/v.mp4?fresh=%d#", w.cdn.URL, n)) }
			})
			w.deliver(t, "klingai-official", "msg_1", tasks.TypeCompleted, "881", fmt.Sprintf(completedBody, w.cdn.URL))
			policy, err := tasks.PolicyOf(tasks.KindMediaDownload)
			if err != nil {
				t.Fatal(err)
			}
			for range policy.Attempts + 5 {
				w.work(t)
				w.runRetries(t, policy.Queue)
			}
			if n := len(w.kling.taken()); n != policy.Attempts {
				t.Errorf("Kling was asked %d times, want once for each of %d attempts", n, policy.Attempts)
			}
			if m, err := w.store.Medium(t.Context(), "881", "video"); err != nil || m.State != store.MediaFailed {
				t.Errorf("video is %s, %v; want failed", m.State, err)
			}
			if list := w.deadLetters(t); len(list) != 1 {
				t.Errorf("%d dead letters, want one", len(list))
			}
		})
	}
}

// runRetries makes the tasks that wait for another attempt due.
func (f *fixture) runRetries(t *testing.T, queue string) {
	t.Helper()
	if _, err := f.inspector.RunAllRetryTasks(queue); err != nil {
		t.Fatal(err)
	}
}

// TestDeadLinkWithoutAnother holds that a dead link to which there is no other ends
// as a dead letter, and that it does not while Kling cannot be asked.
func TestDeadLinkWithoutAnother(t *testing.T) {
	w := newWaiting(t, miniredis.RunT(t).Addr())
	w.serve = func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(http.StatusGone) }
	w.kling.set(func(k *fakeKling) { k.err = errors.New("connection refused") })
	w.deliver(t, "klingai-official", "msg_1", tasks.TypeCompleted, "881", fmt.Sprintf(completedBody, w.cdn.URL))
	w.work(t)
	if list := w.deadLetters(t); len(list) > 0 {
		t.Fatalf("%d dead letters while Kling cannot be asked, want none", len(list))
	}
	w.kling.set(func(k *fakeKling) { k.err = nil })
	w.deliver(t, "klingai-official", "msg_2", tasks.TypeCompleted, "881", fmt.Sprintf(completedBody, w.cdn.URL+"/other"))
	w.work(t)
	list := w.deadLetters(t)
	if len(list) == 0 {
		t.Error("no dead letter, though no link is left")
	}
	for _, d := range list {
		if !strings.Contains(d.Error, "410") {
			t.Errorf("dead letter of %q, want the 410", d.Error)
		}
	}
	if m, err := w.store.Medium(t.Context(), "881", "video"); err != nil || m.State != store.MediaFailed {
		t.Errorf("video is %s, %v; want failed", m.State, err)
	}
}
