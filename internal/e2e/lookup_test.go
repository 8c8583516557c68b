package e2e

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klinghook/klinghook/internal/kling"
	"github.com/klinghook/klinghook/internal/testenv"
)

const (
	klingKey      = "a-kling-key-that-no-log-has"
	callbackToken = "a-callback-token-that-no-log-has-0123456789"
	apiToken      = "an-api-token-that-no-log-has-0123456789"
)

// simulation is a running `klinghook simulate` with jobs, and the klinghook that waits
// for them.
type simulation struct {
	*world
	addr string
	jobs map[string]kling.JobKind // by id
}

// TestLookupsReplaceLostCallbacks lets a simulator lose, repeat and reorder callbacks,
// answer with errors, and give dead links: all jobs must end as it says. dev gets only
// unsigned callbacks.
func TestLookupsReplaceLostCallbacks(t *testing.T) {
	for _, dev := range []bool{false, true} {
		t.Run(fmt.Sprintf("dev %t", dev), func(t *testing.T) {
			t.Parallel()
			flags := []string{
				"simulate", "--addr", "127.0.0.1:0", "--api-key", klingKey, "--seed", "7", "--duration", "3s", "--lost", "0.3", "--repeat", "0.2",
				"--reorder", "0.2", "--fail", "0.15", "--dead-links", "0.2", "--drift", "--trouble", "0.01", "--media-size", "64KiB",
			}
			s := &simulation{jobs: map[string]kling.JobKind{}}
			if dev {
				s.world = newWorld(t)
				flags = append(flags, "--unsigned")
			} else {
				s.world = newFleet(t, testenv.Postgres(t))
			}
			s.addr = s.start(klinghook, flags...).address("simulate")
			s.settings["KLINGHOOK_MEDIA_ALLOW"] = s.addr
			s.settings["KLINGAI_API_KEY"], s.settings["KLINGAI_API_URL"] = klingKey, "http://"+s.addr
			s.settings["KLINGHOOK_LOOKUP_AFTER"], s.settings["KLINGHOOK_LOOKUP_RATE"] = "3s", "25"
			s.settings["KLINGHOOK_CALLBACK_TOKEN"], s.settings["KLINGHOOK_ADMIN_TOKEN"] = callbackToken, apiToken
			if dev {
				dev := s.start(klinghook, "dev")
				s.create(40, dev.url(), dev.address("admin"), "t/"+callbackToken)
			} else {
				base, _, _ := s.startAll()
				s.start(klinghook, "worker")
				s.create(160, base, s.start(klinghook, "admin").address("admin"), "official", "t/"+callbackToken)
			}
			s.check()
		})
	}
}

// create creates jobs of both APIs that call back at each of the paths in turn, and
// tracks them: half of them with the command, the others with PUT.
func (s *simulation) create(n int, base, admin string, paths ...string) {
	s.t.Helper()
	args := []string{"jobs", "track"}
	for i := range n {
		callback := base + "/webhooks/klingai/" + paths[i/2%len(paths)]
		kind, path := kling.KindTasks, "/text-to-video/kling-v3"
		order := map[string]any{"prompt": "a cat", "options": map[string]any{"callback_url": callback}}
		if i%2 == 0 {
			kind, path = kling.KindText2Video, "/v1/videos/text2video"
			order = map[string]any{"prompt": "a cat", "callback_url": callback}
		}
		var receipt struct {
			Data struct {
				ID     string
				TaskID string `json:"task_id"`
			}
		}
		for status := 0; status != http.StatusOK; {
			var answer []byte
			if status, answer = s.call(http.MethodPost, "http://"+s.addr+path, klingKey, order); status < 500 {
				testenv.NoError(s.t, json.Unmarshal(answer, &receipt))
			}
		}
		id := receipt.Data.ID + receipt.Data.TaskID
		s.jobs[id] = kind
		if i/4%2 == 0 {
			args = append(args, id)
			continue
		}
		body := map[string]string{}
		if kind != kling.KindTasks {
			body["api"] = string(kind)
		}
		if status, answer := s.call(http.MethodPut, "http://"+admin+"/api/v1/jobs/"+id, apiToken, body); status != http.StatusCreated && status != http.StatusOK {
			s.t.Fatalf("PUT /jobs/%s answered %d %s", id, status, answer)
		}
	}
	s.mustRun(args...)
}

// call sends a JSON request with a bearer token.
func (s *simulation) call(method, target, token string, body any) (status int, answer []byte) {
	s.t.Helper()
	testenv.NoError(s.t, s.ctx.Err())
	text, err := json.Marshal(body)
	testenv.NoError(s.t, err)
	r, err := http.NewRequestWithContext(s.ctx, method, target, bytes.NewReader(text))
	testenv.NoError(s.t, err)
	r.Header.Set("Authorization", "Bearer "+token)
	status, content, err := send(http.DefaultClient, r)
	testenv.NoError(s.t, err)
	return status, []byte(content)
}

// check waits until all jobs have ended, and checks all effects.
func (s *simulation) check() {
	s.t.Helper()
	s.openStore()
	s.await("all jobs to end", func() (bool, string) {
		left := s.number(`SELECT count(*) FROM jobs WHERE status IN ('created', 'processing')`)
		return left == 0, fmt.Sprint(left, " left")
	})
	s.settle()
	stored := map[string]string{}
	testenv.NoError(s.t, s.rows(`SELECT id, status FROM jobs`, func(row *sql.Rows) error {
		var id, status string
		err := row.Scan(&id, &status)
		stored[id] = status
		return err
	}))
	notified := s.receiver.got()
	api, err := kling.New(kling.Config{BaseURL: "http://" + s.addr, APIKey: klingKey, Rate: 1000})
	testenv.NoError(s.t, err)
	for id, kind := range s.jobs {
		job := ask(s.ctx, s.t, api, id, kind)
		if want := string(job.Status); stored[id] != want || notified["video."+want+" "+id] != 1 {
			s.t.Errorf("job %s is %s, want %s; notifications: %v", id, stored[id], want, notified)
		}
		if len(job.Outputs) == 0 {
			continue
		}
		status, served, err := get(s.ctx, job.Outputs[0].URL)
		video, readErr := os.ReadFile(filepath.Join(s.bucket, id, "video.mp4"))
		if err := errors.Join(err, readErr); err != nil || status != http.StatusOK || string(video) != served {
			s.t.Errorf("video of job %s has %d bytes, %v; %d bytes are served with %d", id, len(video), err, len(served), status)
		}
	}
	if len(stored) != len(s.jobs) || len(notified) != len(s.jobs) {
		s.t.Errorf("%d jobs stored and %d notified, want %d", len(stored), len(notified), len(s.jobs))
	}
	if n := s.number(`SELECT count(*) FROM dead_letters`); n != 0 {
		s.t.Errorf("%d dead letters, want none", n)
	}
	s.checkTrouble()
	for _, p := range s.services[1:] {
		for _, secret := range []string{klingKey, callbackToken, apiToken, "token=", "expires="} {
			if strings.Contains(string(p.output()), secret) {
				s.t.Errorf("the log of %s has %q", p.name, secret)
			}
		}
	}
}

// ask asks the simulator about a job, again if it answers with an error.
func ask(ctx context.Context, t *testing.T, api *kling.API, id string, kind kling.JobKind) (job kling.Answer) {
	t.Helper()
	err := errors.New("not asked")
	for range 20 {
		if job, err = api.Job(ctx, id, kind); err == nil {
			return job
		}
	}
	t.Fatal(err)
	return job
}

// checkTrouble checks that the simulator misbehaved.
func (s *simulation) checkTrouble() {
	s.t.Helper()
	var stats struct {
		Jobs      struct{ Failed int }
		Callbacks struct{ Lost, Repeated, Reordered int }
	}
	_, answer := s.call(http.MethodGet, "http://"+s.addr+"/simulator/stats", klingKey, nil)
	testenv.NoError(s.t, json.Unmarshal(answer, &stats))
	s.t.Logf("at the simulator: %s", answer)
	if c := stats.Callbacks; c.Lost == 0 || c.Repeated == 0 || c.Reordered == 0 || stats.Jobs.Failed == 0 {
		s.t.Errorf("nothing went wrong at the simulator: %+v", stats)
	}
}
