package simulate

import (
	"errors"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/klinghook/klinghook/internal/kling"
	"github.com/klinghook/klinghook/tasks"
)

func TestKlinghooksClientReadsEveryAnswer(t *testing.T) {
	tests := []struct {
		name   string
		cfg    Config
		client kling.Config
	}{
		{"an API key", Config{APIKey: "key-1"}, kling.Config{APIKey: "key-1"}},
		{"a pair of keys", Config{AccessKey: "access", SecretKey: "secret"}, kling.Config{AccessKey: "access", SecretKey: "secret"}},
		{"drift", Config{Drift: true, RandomSeed: 1}, kling.Config{APIKey: "any"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.cfg.Duration = time.Millisecond
			s := newSimulator(t, tt.cfg)
			srv := httptest.NewServer(s)
			defer srv.Close()
			tt.client.BaseURL, tt.client.HTTPClient, tt.client.Rate = srv.URL, srv.Client(), 1e6
			client, err := kling.New(tt.client)
			if err != nil {
				t.Fatal(err)
			}
			legacy, newer := orderMany(t, s, 10)
			settle(t, s)
			for _, id := range legacy {
				job, err := client.Job(t.Context(), id)
				checkJob(t, job, err, id, kling.KindText2Video)
			}
			if _, err := client.Job(t.Context(), "unknown", kling.KindText2Video); !errors.Is(err, kling.ErrNotFound) {
				t.Errorf("an unknown job: %v", err)
			}
			if tt.client.APIKey == "" {
				return // the new API takes no pair
			}
			jobs, err := client.Jobs(t.Context(), newer...)
			if err != nil || len(jobs) != len(newer) {
				t.Errorf("%d jobs were looked up, %v", len(jobs), err)
			}
			for _, id := range newer {
				job, err := client.Job(t.Context(), id)
				checkJob(t, job, err, id, kling.KindTasks)
			}
		})
	}
}

// orderMany creates jobs of both forms without credentials.
func orderMany(t *testing.T, s *Simulator, n int) (legacy, newer []string) {
	t.Helper()
	take := func(f form, kind string) string {
		j, refused := s.create(order{form: f, kind: kind, prompt: "p", base: "http://kling.test"}, "5")
		if refused != nil {
			t.Fatal(refused.message)
		}
		return j.id
	}
	for range n {
		legacy = append(legacy, take(legacyForm, "text2video"))
		newer = append(newer, take(newForm, "text-to-video"))
	}
	return legacy, newer
}

func checkJob(t *testing.T, job kling.Answer, err error, id string, kind kling.JobKind) {
	t.Helper()
	if err != nil || job.ID != id || job.Kind != kind || job.Status != tasks.StatusCompleted || len(job.Outputs) != 1 ||
		job.Outputs[0].URL == "" || job.Outputs[0].Duration != 5100*time.Millisecond || job.CreatedAt.IsZero() {
		t.Errorf("job %s is %+v, %v", id, job, err)
	}
}

func TestKlinghooksClientReadsRefusals(t *testing.T) {
	s := newSimulator(t, Config{LookupRate: 0.01})
	srv := httptest.NewServer(s)
	defer srv.Close()
	client, err := kling.New(kling.Config{BaseURL: srv.URL, HTTPClient: srv.Client(), APIKey: "any", Rate: 1e6})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.Jobs(t.Context(), "1"); err != nil {
		t.Errorf("the first look-up: %v", err)
	}
	var refused *kling.APIError
	if _, err := client.Jobs(t.Context(), "1"); !errors.As(err, &refused) || refused.Code != 1302 || kling.WaitOf(err) == 0 {
		t.Errorf("the second look-up: %v", err)
	}
}
