package simulate

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/klinghook/klinghook/tasks"
)

func TestCallbacksReportEachChange(t *testing.T) {
	const (
		legacy = "/v1/videos/text2video"
		newer  = "/text-to-video/kling-3.0"
	)
	official := []string{"0s video.created", "1s video.processing", "4s video.completed"}
	seed := []string{"0s video.created", "1s video.processing", "3s video.processing", "4s video.completed"}
	tests := []struct {
		name     string
		cfg      Config
		path     string
		key      string // of the body
		protocol string
		want     []string
	}{
		{"legacy as created", Config{}, legacy, "task_id", "klingai-official", official},
		{"new as created", Config{}, newer, "id", "klingai-official", official},
		{"official", Config{Protocol: Official}, legacy, "id", "klingai-official", official},
		{"official legacy", Config{Protocol: OfficialLegacy}, newer, "task_id", "klingai-official", official},
		{"seed", Config{Protocol: Seed}, newer, "event", "klingai", seed},
		{"failed", Config{Protocol: Seed, Fail: 1}, legacy, "event", "klingai", append(seed[:3:3], "4s video.failed")},
		{"cancelled", Config{Protocol: Seed, Cancel: 1}, legacy, "event", "klingai", append(seed[:3:3], "4s video.cancelled")},
		{"cancelled, officially", Config{Cancel: 1}, legacy, "task_id", "klingai-official", append(official[:2:2], "4s video.failed")},
		{"drifting", Config{Drift: true}, legacy, "task_id", "klingai-official", official},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.cfg.OfficialSecret, tt.cfg.SeedSecret = officialSecret, seedSecret
			run(t, tt.cfg, func(t *testing.T, s *Simulator, b *inbox) {
				begun := time.Now()
				options := `"callback_url":"` + callbackURL + `","external_task_id":"mine"`
				_, answer := ask(t, s, "POST", tt.path, `{"prompt":"a lighthouse",`+options+`,"options":{`+options+`}}`)
				id := text(answer, "data", "task_id") + text(answer, "data", "id")
				pass(time.Minute)
				secret := map[string]string{"klingai": seedSecret, "klingai-official": officialSecret}[tt.protocol]
				var got []string
				for _, a := range b.all() {
					identity := a.identify(t, tt.protocol, secret)
					if identity.JobID != id {
						t.Errorf("callback about job %q, want %q", identity.JobID, id)
					}
					if decodeBody(t, a.body)[tt.key] == nil {
						t.Errorf("the body has no %s: %s", tt.key, a.body)
					}
					got = append(got, fmt.Sprintf("%s %s", a.at.Sub(begun), identity.Type))
				}
				if diff := cmp.Diff(tt.want, got); diff != "" {
					t.Errorf("(-want +got)\n%s", diff)
				}
			})
		})
	}
}

func TestKlinghookReadsWhatWasCreated(t *testing.T) {
	for _, protocol := range []CallbackFormat{Seed, Official, OfficialLegacy} {
		t.Run(string(protocol), func(t *testing.T) {
			run(t, Config{Protocol: protocol}, func(t *testing.T, s *Simulator, b *inbox) {
				begun := time.Now().UTC()
				id := createWith(t, s, `{"prompt":"a lighthouse","model_name":"kling-v2-6","duration":"10","external_task_id":"mine","callback_url":"`+callbackURL+`"}`)
				pass(time.Minute)
				all := b.all()
				name := map[bool]string{true: "klingai", false: "klingai-official"}[protocol == Seed]
				u, err := sourceOf(t, name).Update(tasks.Event{ID: "event", Body: all[len(all)-1].body})
				if err != nil || u == nil {
					t.Fatalf("it means %v, %v", u, err)
				}
				if u.Job.ID != id || u.Status != tasks.StatusCompleted || u.Duration.Truncate(time.Second) != 10*time.Second ||
					!u.CreatedAt.Equal(begun) || !u.FinishedAt.Equal(begun.Add(4*time.Second)) {
					t.Errorf("it means %+v", u)
				}
				var names []string
				for _, m := range u.Media {
					names = append(names, m.Name)
					if !strings.HasPrefix(m.URL, "http://kling.test/media/"+id+"/") {
						t.Errorf("the link is %s", m.URL)
					}
				}
				want := []string{tasks.MediaName(tasks.MediaVideo, 0)}
				if protocol == Seed {
					want = append(want, tasks.MediaName(tasks.MediaThumbnail, 0))
					if u.Prompt != "a lighthouse" || u.Model != "kling-v2-6" {
						t.Errorf("it means %+v", u)
					}
				} else if u.ExternalID != "mine" {
					t.Errorf("the external id is %q", u.ExternalID)
				}
				if diff := cmp.Diff(want, names); diff != "" {
					t.Errorf("media (-want +got)\n%s", diff)
				}
			})
		})
	}
}

func TestCallbacksWithoutSecretAreUnsigned(t *testing.T) {
	tests := []struct {
		name string
		cfg  Config
	}{
		{"no secret", Config{}},
		{"unsigned", Config{OfficialSecret: officialSecret, SeedSecret: seedSecret, Unsigned: true}},
		{"unsigned, seed", Config{Protocol: Seed, OfficialSecret: officialSecret, SeedSecret: seedSecret, Unsigned: true}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			run(t, tt.cfg, func(t *testing.T, s *Simulator, b *inbox) {
				create(t, s)
				pass(time.Minute)
				if len(b.all()) < 3 {
					t.Errorf("%d callbacks", len(b.all()))
				}
				for _, a := range b.all() {
					for _, name := range []string{"Webhook-Id", "Webhook-Signature", "X-Kling-Signature"} {
						if a.header.Get(name) != "" {
							t.Errorf("%s has the header %s", a.url, name)
						}
					}
				}
			})
		})
	}
}

func TestCallbacksAreRetried(t *testing.T) {
	tests := []struct {
		name   string
		cfg    Config
		answer func(n int) int
		want   []string // when the first callback was posted
		stats  CallbackStats
	}{
		{"204", Config{}, func(int) int { return 204 }, []string{"0s"}, CallbackStats{Delivered: 3}},
		{
			"503 and none, then 200", Config{}, func(n int) int { return []int{503, 0, 200}[min(n, 2)] },
			[]string{"0s", "1s", "3s"}, CallbackStats{Delivered: 3},
		},
		{"always 500", Config{Attempts: 3}, func(int) int { return 500 }, []string{"0s", "1s", "3s"}, CallbackStats{GivenUp: 3}},
		{"a redirect is not followed", Config{Attempts: 1}, func(int) int { return 302 }, []string{"0s"}, CallbackStats{GivenUp: 3}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			// The first callback is settled before the next one is due.
			tt.cfg.Duration, tt.cfg.OfficialSecret = 4*time.Minute, officialSecret
			tt.cfg.Transport = &inbox{answer: tt.answer}
			run(t, tt.cfg, func(t *testing.T, s *Simulator, b *inbox) {
				begun := time.Now()
				create(t, s)
				pass(time.Hour)
				var got []string
				for _, a := range b.all() {
					if a.header.Get("Webhook-Id") == b.all()[0].header.Get("Webhook-Id") {
						got = append(got, a.at.Sub(begun).String())
						a.identify(t, "klingai-official", officialSecret)
					}
				}
				if diff := cmp.Diff(tt.want, got); diff != "" {
					t.Errorf("the first callback was posted at (-want +got)\n%s", diff)
				}
				tt.stats.Planned = 3
				if diff := cmp.Diff(tt.stats, s.Stats().Callbacks); diff != "" {
					t.Errorf("stats (-want +got)\n%s", diff)
				}
				if inHand := s.Stats().Jobs.InHand; inHand != 0 {
					t.Errorf("%d jobs are unfinished", inHand)
				}
			})
		})
	}
}

func TestCloseCutsOffReceiversThatHang(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSimulator(t, Config{Transport: hangs{}})
		create(t, s)
		pass(time.Second)
		begun := time.Now()
		s.Close()
		s.Close()
		if took := time.Since(begun); took != closeGrace {
			t.Errorf("it took %s, want %s", took, closeGrace)
		}
		if c := s.Stats().Callbacks; c.Waiting != 3 {
			t.Errorf("%+v", c)
		}
	})
}

// hangs never answers.
type hangs struct{}

func (hangs) RoundTrip(r *http.Request) (*http.Response, error) {
	<-r.Context().Done()
	return nil, r.Context().Err()
}

func TestCallbacksArriveOverTheNetwork(t *testing.T) {
	var seen atomic.Int64
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen.Add(1)
		w.WriteHeader(http.StatusNoContent)
	}))
	defer receiver.Close()
	s := newSimulator(t, Config{Duration: 20 * time.Millisecond, Lost: 0.3, Repeat: 0.2, Reorder: 0.2})
	srv := httptest.NewServer(s)
	defer srv.Close()
	var creators sync.WaitGroup
	for range 4 {
		creators.Go(func() {
			for range 50 {
				createWith(t, s, `{"prompt":"p","callback_url":"`+receiver.URL+`"}`)
			}
		})
	}
	creators.Wait()
	settle(t, s)
	c := s.Stats().Callbacks
	if c.Planned != 600 || c.Waiting != 0 || c.Delivered != c.Planned-c.Lost+c.Repeated || int(seen.Load()) != c.Delivered {
		t.Errorf("%d arrived of %+v", seen.Load(), c)
	}
	status, stats := ask(t, s, "GET", "/simulator/stats", "")
	if jobs, _ := stats["jobs"].(map[string]any); status != http.StatusOK || jobs["created"] != 200.0 || jobs["succeeded"] != 200.0 {
		t.Errorf("%d %v", status, stats)
	}
}
