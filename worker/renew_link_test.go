package worker_test

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"

	"github.com/klinghook/klinghook/internal/store"
	"github.com/klinghook/klinghook/internal/testenv"
	"github.com/klinghook/klinghook/tasks"
)

// refuse answers downloads with a status while dead returns true. Each takes a second.
func (w *lookupFixture) refuse(status int, dead func(*http.Request) bool) {
	serve := w.serve
	w.serve = func(rw http.ResponseWriter, r *http.Request) {
		w.pass(time.Second)
		if dead(r) {
			rw.WriteHeader(status)
			return
		}
		serve(rw, r)
	}
}

func withoutQuery(r *http.Request) bool { return r.URL.RawQuery == "" }

func TestDeadLinkIsRenewedOrRetried(t *testing.T) {
	t.Parallel()
	for _, status := range []int{http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusGone} {
		early := 2
		for name, tt := range map[string]struct {
			link      string // in Kling's answer
			dead      func(*http.Request) bool
			wantAsked []string
		}{
			"Kling has a fresh link":      {"/v.mp4?fresh=1", withoutQuery, []string{"881"}},
			"the link is before its file": {"/v.mp4", func(*http.Request) bool { early--; return early >= 0 }, []string{"881", "881"}},
		} {
			t.Run(name+", "+http.StatusText(status), func(t *testing.T) {
				w := newLookupFixture(t, miniredis.RunT(t).Addr())
				body := fmt.Sprintf(completedBody, w.cdn.URL)
				w.kling.tasks["881"] = strings.Replace(body, "/v.mp4", tt.link, 1)
				w.refuse(status, tt.dead)
				w.deliver(t, "klingai-official", "msg_1", tasks.TypeCompleted, "881", body)
				for range 3 {
					w.work(t)
					w.runRetries(t, tasks.QueueMedia)
				}
				w.checkMedia(t, "881", store.MediaStored, "")
				w.checkAsked(t, tt.wantAsked...)
				w.checkLetters(t, 0)
				attempts, err := w.store.TaskAttemptsOf(t.Context(), tasks.KlingJob("881"))
				testenv.NoError(t, err)
				if last := len(attempts) - 1; last != len(tt.wantAsked) || !strings.Contains(attempts[0].Error, strconv.Itoa(status)) || attempts[last].Size == 0 {
					t.Errorf("attempts %+v, want a failed one for each question and the stored file", attempts)
				}
				answers, err := w.store.AnswersOf(t.Context(), tasks.KlingJob("881"))
				testenv.NoError(t, err)
				if len(answers) != len(tt.wantAsked) || answers[0].Outcome != "found" {
					t.Errorf("answers %+v, want %d", answers, len(tt.wantAsked))
				}
			})
		}
	}
}

func TestMalformedLinkIsReplaced(t *testing.T) {
	w := newLookupFixture(t, miniredis.RunT(t).Addr())
	body := fmt.Sprintf(completedBody, w.cdn.URL)
	w.kling.tasks["881"] = body
	w.deliver(t, "klingai-official", "msg_1", tasks.TypeCompleted, "881", strings.Replace(body, w.cdn.URL, "https://cdn.example:x", 1))
	w.work(t)
	w.checkMedia(t, "881", store.MediaStored, "")
}

func TestDeadLinkOfStoredFileIsNotAFailure(t *testing.T) {
	w := newLookupFixture(t, miniredis.RunT(t).Addr())
	old := fmt.Sprintf(completedBody, w.cdn.URL)
	fresh := strings.Replace(old, "/v.mp4", "/v.mp4?fresh=1", 1)
	w.refuse(http.StatusNotFound, withoutQuery)
	w.kling.answer = func(int) string {
		w.deliver(t, "klingai-official", "msg_2", tasks.TypeCompleted, "881", fresh)
		w.eventually(t, "the file of the newer link", func() bool {
			m, err := w.store.Medium(t.Context(), tasks.KlingJob("881"), "video")
			return err == nil && m.State == store.MediaStored
		})
		return fresh
	}
	w.deliver(t, "klingai-official", "msg_1", tasks.TypeCompleted, "881", old)
	w.work(t)
	w.checkLetters(t, 0)
}

func TestFreshDeadLinksEndAsOneDeadLetter(t *testing.T) {
	t.Parallel()
	for _, status := range []int{http.StatusForbidden, http.StatusNotFound} {
		t.Run(http.StatusText(status), func(t *testing.T) {
			t.Parallel()
			w := newLookupFixture(t, miniredis.RunT(t).Addr())
			w.serve = func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(status) }
			w.kling.answer = func(n int) string { return fmt.Sprintf(completedBody, fmt.Sprintf("%s/v.mp4?fresh=%d#", w.cdn.URL, n)) }
			w.deliver(t, "klingai-official", "msg_1", tasks.TypeCompleted, "881", fmt.Sprintf(completedBody, w.cdn.URL))
			policy, err := tasks.PolicyOf(tasks.KindMediaDownload)
			testenv.NoError(t, err)
			for range policy.Attempts + 5 {
				w.work(t)
				w.runRetries(t, policy.Queue)
			}
			if n := len(w.kling.taken()); n != policy.Attempts {
				t.Errorf("Kling was asked %d times, want once for each of %d attempts", n, policy.Attempts)
			}
			w.checkMedia(t, "881", store.MediaFailed, "")
			w.checkLetters(t, 1)
		})
	}
}

// runRetries makes all retries of a queue due.
func (f *fixture) runRetries(t *testing.T, queue string) {
	t.Helper()
	_, err := f.inspector.RunAllRetryTasks(queue)
	testenv.NoError(t, err)
}

func TestDeadLinkEndsAsDeadLetterOnceKlingAnswers(t *testing.T) {
	w := newLookupFixture(t, miniredis.RunT(t).Addr())
	w.serve = func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(http.StatusGone) }
	w.kling.err = errors.New("connection refused")
	w.deliver(t, "klingai-official", "msg_1", tasks.TypeCompleted, "881", fmt.Sprintf(completedBody, w.cdn.URL))
	w.work(t)
	w.checkLetters(t, 0)
	w.kling.err = nil
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
	w.checkMedia(t, "881", store.MediaFailed, "")
}
