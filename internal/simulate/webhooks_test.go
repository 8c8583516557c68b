package simulate

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/klinghook/klinghook/internal/kling"
)

// Kling's own client registers webhooks, and each gets its events, signed with its
// own secret.
func TestWebhooks(t *testing.T) {
	b := &inbox{}
	s := newSimulator(t, Config{Transport: b, Duration: 4 * time.Millisecond, SeedSecret: seedSecret})
	s.Start(t.Context())
	defer s.Close()
	srv := httptest.NewServer(s)
	defer srv.Close()
	client, err := kling.New(kling.Config{BaseURL: srv.URL, APIKey: "any", HTTPClient: srv.Client()})
	if err != nil {
		t.Fatal(err)
	}
	all, err := client.RegisterWebhook(t.Context(), "https://hooks.example/all", []string{"video.created", "video.processing", "video.completed"})
	if err != nil {
		t.Fatal(err)
	}
	some, err := client.RegisterWebhook(t.Context(), "https://hooks.example/some", []string{"video.completed", "video.failed"})
	if err != nil {
		t.Fatal(err)
	}
	if all.ID != "wh_1" || some.ID != "wh_2" || all.Secret == some.Secret {
		t.Errorf("%+v and %+v", all, some)
	}
	_, list := ask(t, s, "GET", "/v1/webhooks", "")
	if first := text(list, "data", "url"); first != "https://hooks.example/all" || strings.Contains(fmt.Sprint(list), "whsec_") {
		t.Errorf("the list is %v", list)
	}
	ask(t, s, "POST", "/v1/webhooks", `{"url":"https://hooks.example/off","active":false}`)
	ask(t, s, "POST", "/v1/webhooks", `{"url":"https://hooks.example/removed"}`)
	if status, _ := ask(t, s, "DELETE", "/v1/webhooks/wh_4", ""); status != http.StatusOK {
		t.Errorf("remove: %d", status)
	}
	createWith(t, s, `{"prompt":"p"}`)
	settle(t, s)
	got := map[string]int{}
	for _, a := range b.all() {
		secret := map[string]string{"https://hooks.example/all": all.Secret, "https://hooks.example/some": some.Secret}[a.url]
		got[a.url+" "+a.identify(t, "klingai", secret).Type]++
	}
	compare(t, "events", map[string]int{
		"https://hooks.example/all video.created": 1, "https://hooks.example/all video.processing": 2, "https://hooks.example/all video.completed": 1,
		"https://hooks.example/some video.completed": 1,
	}, got)
}

func TestWebhooksAreBounded(t *testing.T) {
	s := newSimulator(t, Config{})
	for i := range maxWebhooks + 1 {
		status, answer := ask(t, s, "POST", "/v1/webhooks", `{"url":"https://hooks.example"}`)
		if refused := status == http.StatusBadRequest && answer["code"] == 1201.0; refused != (i == maxWebhooks) {
			t.Errorf("webhook %d: %d %v", i+1, status, answer)
		}
	}
}

// settle waits in real time until nothing more is to happen.
func settle(t *testing.T, s *Simulator) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	deadline := time.After(30 * time.Second)
	for s.Stats().Jobs.InHand > 0 {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("still in hand after 30 s: %+v", s.Stats())
		}
	}
}

// Over real connections nothing is lost that is not meant to be.
func TestOverTheNetwork(t *testing.T) {
	var seen atomic.Int64
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen.Add(1)
		w.WriteHeader(http.StatusNoContent)
	}))
	defer receiver.Close()
	s := newSimulator(t, Config{Duration: 20 * time.Millisecond, Lost: 0.3, Repeat: 0.2, Reorder: 0.2})
	s.Start(t.Context())
	defer s.Close()
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
	if c.Planned != 600 || c.Waiting != 0 || c.Posts != c.Planned-c.Lost+c.Repeated || int(seen.Load()) != c.Posts || c.Delivered != c.Posts {
		t.Errorf("%d arrived of %+v", seen.Load(), c)
	}
	status, stats := ask(t, s, "GET", "/simulator/stats", "")
	if jobs, _ := stats["jobs"].(map[string]any); status != http.StatusOK || jobs["created"] != 200.0 || jobs["succeeded"] != 200.0 {
		t.Errorf("%d %v", status, stats)
	}
}
