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

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/go-cmp/cmp"

	"github.com/klinghook/klinghook/kling"
)

func TestNewRefuses(t *testing.T) {
	tests := []struct {
		name string
		cfg  Config
		want string
	}{
		{"a share over 1", Config{Lost: 1.5}, "lost: 1.5 is no share"},
		{"shares that are too much together", Config{Fail: 0.6, Cancel: 0.6}, "fail and cancel together: 1.2"},
		{"a protocol", Config{Protocol: "soap"}, "[as-created official official-legacy seed]"},
		{"a time before", Config{Duration: -1}, "times from 0"},
		{"a small video", Config{MediaSize: 39}, "it takes 40 at least"},
		{"a negative rate", Config{LookupRate: -1}, "numbers from 0"},
		{"half a pair", Config{AccessKey: "a"}, "give both or neither"},
		{"a key with a line end", Config{APIKey: "hush\n"}, "begins or ends with a blank"},
		{"a secret of another form", Config{OfficialSecret: "hush!"}, `is not "whsec_" and base64`},
		{"an empty secret", Config{OfficialSecret: "whsec_"}, `is not "whsec_" and base64`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := New(tt.cfg)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("err = %v, want %q", err, tt.want)
			}
			if strings.Contains(err.Error(), "hush") {
				t.Errorf("%q tells a secret", err)
			}
		})
	}
}

// The shapes are those of Kling's documentation.
func TestShapes(t *testing.T) {
	run(t, Config{}, func(t *testing.T, s *Simulator, _ *inbox) {
		now := float64(time.Now().UnixMilli())
		status, got := ask(t, s, "POST", "/v1/videos/image2video", `{"model_name":"kling-v2-6","image":"aGk=","duration":5,"external_task_id":"mine"}`)
		id := text(got, "data", "task_id")
		receipt := map[string]any{
			"task_id": id, "task_status": "submitted", "created_at": now, "updated_at": now,
			"task_info": map[string]any{"external_task_id": "mine"},
		}
		compare(t, "create, legacy", envelope("sim-1", receipt), got)
		if status != http.StatusOK || len(id) != 18 && len(id) != 19 {
			t.Errorf("%d, id %q", status, id)
		}
		_, got = ask(t, s, "POST", "/text-to-video/kling-3.0", `{"prompt":"p","options":{"external_task_id":"other"}}`)
		other := text(got, "data", "id")
		compare(t, "create, new", envelope("sim-2", map[string]any{
			"id": other, "status": "submitted", "message": "", "create_time": now, "update_time": now, "external_id": "other",
		}), got)

		pass(4 * time.Second)
		_, got = ask(t, s, "GET", "/v1/videos/image2video/mine", "")
		receipt["task_status"], receipt["updated_at"], receipt["task_status_msg"] = "succeed", now+4000, ""
		receipt["final_unit_deduction"] = "1"
		receipt["task_result"] = map[string]any{"images": []any{}, "videos": []any{
			map[string]any{"id": id + "-1", "url": videoLink(got["data"]), "duration": "5.1"},
		}}
		compare(t, "look-up, legacy", envelope("sim-3", receipt), got)
		_, got = ask(t, s, "GET", "/tasks?task_ids="+other+",unknown", "")
		compare(t, "look-up, new", envelope("sim-4", []any{map[string]any{
			"id": other, "status": "succeeded", "message": "", "create_time": now, "update_time": now + 4000, "external_id": "other", "billing": []any{},
			"outputs": []any{map[string]any{
				"type": "video", "id": other + "-1", "url": text(got, "data", "outputs", "url"), "watermark_url": "", "duration": "5.1",
			}},
		}}), got)
	})
}

func envelope(request string, data any) map[string]any {
	return map[string]any{"code": 0.0, "message": "SUCCEED", "request_id": request, "data": data}
}

func compare(t *testing.T, what string, want, got any) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got)\n%s", what, diff)
	}
}

func TestStatesOverTime(t *testing.T) {
	run(t, Config{Duration: 8 * time.Second, Fail: 1}, func(t *testing.T, s *Simulator, _ *inbox) {
		id := create(t, s)
		var got []string
		for range 6 {
			got = append(got, text(lookUp(t, s, id), "task_status")+text(lookUp(t, s, id), "task_status_msg"))
			pass(2 * time.Second)
		}
		compare(t, "states every 2 s", []string{"submitted", "processing", "processing", "processing", "failed" + failure, "failed" + failure}, got)
	})
}

func TestCodes(t *testing.T) {
	// As Kling documents them.
	statuses := map[int][]int{
		401: {1000, 1001, 1002, 1003, 1004}, 429: {1100, 1101, 1102, 1302, 1303, 1304}, 403: {1103},
		400: {1200, 1201, 1300, 1301}, 404: {1202, 1203}, 500: {5000}, 503: {5001}, 504: {5002},
	}
	s := newSimulator(t, Config{})
	for status, codes := range statuses {
		for _, code := range codes {
			got, answer := ask(t, s, "POST", "/v1/videos/text2video", fmt.Sprintf(`{"prompt":"a cat, simulate %d please"}`, code))
			if got != status || answer["code"] != float64(code) {
				t.Errorf("%d is answered with %d %v, want %d", code, got, answer, status)
			}
		}
	}
	if jobs := s.Stats().Jobs.Created; jobs != 0 {
		t.Errorf("%d jobs were created", jobs)
	}
}

func TestRefusals(t *testing.T) {
	tests := []struct {
		name, call, body string
		status, code     int
	}{
		{"no JSON", "POST /v1/videos/text2video", `{"prompt"`, 400, 1200},
		{"no prompt", "POST /v1/videos/text2video", ``, 400, 1201},
		{"a long prompt", "POST /v1/videos/text2video", `{"prompt":"` + strings.Repeat("x", 3073) + `"}`, 400, 1201},
		{"a long body", "POST /v1/videos/text2video", `{"image":"` + strings.Repeat("x", maxBody) + `"}`, 400, 1200},
		{"an unknown model", "POST /v1/videos/text2video", `{"prompt":"p","model_name":"sora"}`, 404, 1203},
		{"an unknown model, new", "POST /text-to-video/sora", `{"prompt":"p"}`, 404, 1203},
		{"no prompt, new", "POST /text-to-video/kling-3.0", `{"contents":[{"type":"first_frame"}]}`, 400, 1201},
		{"a duration", "POST /v1/videos/text2video", `{"prompt":"p","duration":"long"}`, 400, 1201},
		{"a long duration", "POST /v1/videos/text2video", `{"prompt":"p","duration":16}`, 400, 1201},
		{"a callback URL", "POST /v1/videos/text2video", `{"prompt":"p","callback_url":"ftp://x"}`, 400, 1201},
		{"an external id that is taken", "POST /v1/videos/text2video", `{"prompt":"p","external_task_id":"taken"}`, 400, 1201},
		{"an external id with a comma", "POST /v1/videos/text2video", `{"prompt":"p","external_task_id":"a,b"}`, 400, 1201},
		{"an unknown kind", "POST /v1/videos/text2audio", `{"prompt":"p"}`, 404, 1202},
		{"an unknown method", "PUT /v1/videos/text2video/1", `{}`, 404, 1202},
		{"an unknown task", "GET /v1/videos/text2video/1", ``, 404, 1203},
		{"a task of another kind", "GET /v1/videos/image2video/taken", ``, 404, 1203},
		{"a page", "GET /v1/videos/text2video?pageNum=0", ``, 400, 1201},
		{"a large page", "GET /v1/videos/text2video?pageSize=501", ``, 400, 1201},
		{"no ids", "GET /tasks?task_ids=,", ``, 400, 1200},
		{"both ids", "GET /tasks?task_ids=1&external_task_ids=2", ``, 400, 1200},
		{"21 ids", "GET /tasks?task_ids=" + strings.Repeat("1,", 21), ``, 400, 1201},
		{"a limit", "POST /tasks", `{"limit":501}`, 400, 1201},
		{"a cursor", "POST /tasks", `{"cursor":"1"}`, 400, 1201},
		{"a webhook's URL", "POST /v1/webhooks", `{"url":"/webhooks"}`, 400, 1201},
		{"a webhook's event", "POST /v1/webhooks", `{"url":"https://x.example","events":["video.done"]}`, 400, 1201},
		{"an unknown webhook", "DELETE /v1/webhooks/wh_1", ``, 404, 1203},
	}
	s := newSimulator(t, Config{})
	createWith(t, s, `{"prompt":"p","external_task_id":"taken"}`)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			method, path, _ := strings.Cut(tt.call, " ")
			status, answer := ask(t, s, method, path, tt.body)
			if status != tt.status || answer["code"] != float64(tt.code) || text(answer, "message") == "" || answer["data"] != nil {
				t.Errorf("%d %v, want %d %d", status, answer, tt.status, tt.code)
			}
		})
	}
}

func TestCredentials(t *testing.T) {
	now := time.Now()
	token := func(secret, iss string, exp, nbf time.Duration) string {
		claims := jwt.RegisteredClaims{Issuer: iss, ExpiresAt: jwt.NewNumericDate(now.Add(exp)), NotBefore: jwt.NewNumericDate(now.Add(nbf))}
		signed, err := jwt.NewWithClaims(jwt.SigningMethodHS256, claims).SignedString([]byte(secret))
		if err != nil {
			t.Fatal(err)
		}
		return "Bearer " + signed
	}
	const half = 30 * time.Minute
	anybody, key, pair := Config{}, Config{APIKey: "key-1"}, Config{AccessKey: "access", SecretKey: "secret"}
	tests := []struct {
		name          string
		cfg           Config
		authorization string
		path          string
		want          float64 // the code
	}{
		{"any key", anybody, "Bearer any", "", 0},
		{"any key, new form", anybody, "Bearer any", "/tasks?task_ids=1", 0},
		{"any token", anybody, token("x", "y", half, -5), "", 0},
		{"nothing", anybody, "", "", 1001},
		{"no Bearer", anybody, "any", "", 1002},
		{"an empty Bearer", anybody, "Bearer ", "", 1002},
		{"an expired token", anybody, token("x", "y", -time.Second, -half), "", 1004},
		{"an early token", anybody, token("x", "y", half, time.Minute), "", 1003},
		{"no token at all", anybody, "Bearer a.b.c", "", 1002},
		{"a token in the new form", anybody, token("x", "y", half, -5), "/tasks?task_ids=1", 1002},
		{"the key", key, "Bearer key-1", "", 0},
		{"another key", key, "Bearer key-2", "", 1002},
		{"a token for a key", key, token("secret", "access", half, -5), "", 1000},
		{"the pair", pair, token("secret", "access", half, -5), "", 0},
		{"another secret", pair, token("other", "access", half, -5), "", 1000},
		{"another issuer", pair, token("secret", "other", half, -5), "", 1000},
		{"the pair, expired", pair, token("secret", "access", -time.Second, -half), "", 1004},
		{"a key for a pair", pair, "Bearer key-1", "", 1002},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := tt.path
			if path == "" {
				path = "/v1/videos/text2video?pageSize=1"
			}
			status, answer := askAs(t, newSimulator(t, tt.cfg), tt.authorization, "GET", path, "")
			if answer["code"] != tt.want || (status == http.StatusUnauthorized) != (tt.want != 0) {
				t.Errorf("%d %v, want code %v", status, answer, tt.want)
			}
		})
	}
}

func TestLists(t *testing.T) {
	run(t, Config{}, func(t *testing.T, s *Simulator, _ *inbox) {
		begun := time.Now().UnixMilli()
		var want []string // the newest first
		for range 7 {
			want = append([]string{create(t, s)}, want...)
			pass(time.Second)
		}
		ask(t, s, "POST", "/v1/videos/image2video", `{}`) // of another kind

		var got []string
		for page := range 4 {
			_, answer := ask(t, s, "GET", fmt.Sprintf("/v1/videos/text2video?pageNum=%d&pageSize=3", page+1), "")
			got = append(got, ids(t, answer, "task_id")...)
		}
		compare(t, "pages of 3", want, got)
		_, answer := ask(t, s, "GET", "/v1/videos/text2video", "")
		compare(t, "a page", want, ids(t, answer, "task_id"))

		got = nil
		body := `{"limit":3}`
		for body != "" {
			_, answer := ask(t, s, "POST", "/tasks", body)
			got = append(got, ids(t, answer, "id")...)
			if cursor := text(answer, "cursor"); cursor != "" {
				body = `{"limit":3,"cursor":"` + cursor + `"}`
			} else {
				body = ""
			}
		}
		compare(t, "by cursor", want, got[1:])
		_, answer = ask(t, s, "POST", "/tasks", fmt.Sprintf(`{"start_time":%d,"end_time":%d}`, begun+1000, begun+2000))
		compare(t, "by time", want[4:6], ids(t, answer, "id"))
		_, answer = ask(t, s, "POST", "/tasks", `{"filters":{"status":"succeeded"}}`)
		compare(t, "by status", want[3:], ids(t, answer, "id"))
		_, answer = ask(t, s, "GET", "/tasks?task_ids="+strings.Join(append(want, want...), ","), "")
		compare(t, "by id, each once", want, ids(t, answer, "id"))
	})
}

func ids(t *testing.T, answer map[string]any, key string) []string {
	t.Helper()
	list, ok := answer["data"].([]any)
	if !ok {
		t.Fatalf("the data is no list: %v", answer)
	}
	var found []string
	for _, task := range list {
		found = append(found, text(task, key))
	}
	return found
}

func TestLookupRate(t *testing.T) {
	run(t, Config{LookupRate: 5}, func(t *testing.T, s *Simulator, _ *inbox) {
		id := create(t, s)
		codes := map[any]int{}
		for second := range 4 {
			for range 20 {
				_, answer := ask(t, s, "GET", "/v1/videos/text2video/"+id, "")
				codes[answer["code"]]++
			}
			if want := 5 * (second + 1); codes[0.0] != want || codes[1302.0] != 20*(second+1)-want {
				t.Errorf("second %d: codes %v, want %d of 0 and the others of 1302", second, codes, want)
			}
			pass(time.Second)
		}
		if stats := s.Stats(); stats.Lookups.Answered != 20 || stats.Refused["1302"] != 60 {
			t.Errorf("%+v", stats)
		}
	})
}

func TestMemoryIsBounded(t *testing.T) {
	run(t, Config{Parallel: 10, Keep: 4}, func(t *testing.T, s *Simulator, _ *inbox) {
		var made []string
		for range 10 {
			made = append(made, createWith(t, s, `{"prompt":"p"}`))
		}
		status, answer := ask(t, s, "POST", "/v1/videos/text2video", `{"prompt":"p"}`)
		if status != http.StatusTooManyRequests || answer["code"] != 1303.0 {
			t.Errorf("an eleventh job: %d %v", status, answer)
		}
		pass(time.Minute)
		for i, id := range made {
			status, _ := ask(t, s, "GET", "/v1/videos/text2video/"+id, "")
			if known := status == http.StatusOK; known != (i >= 6) {
				t.Errorf("job %d of 10 is known: %t", i, known)
			}
		}
		create(t, s)
		want := JobStats{Created: 11, InHand: 1, Forgotten: 6, Submitted: 1, Succeeded: 4}
		compare(t, "jobs", want, s.Stats().Jobs)
		if len(s.book.byID) != 5 || s.book.jobs.Len() != 5 || len(s.courier.agenda.items) == 0 {
			t.Errorf("the book has %d jobs", len(s.book.byID))
		}
	})
}

func TestTrouble(t *testing.T) {
	s := newSimulator(t, Config{Trouble: 1})
	seen := map[any]int{}
	for range 60 {
		status, answer := ask(t, s, "GET", "/tasks?task_ids=1", "")
		if status < 500 {
			t.Errorf("%d %v", status, answer)
		}
		seen[answer["code"]]++
	}
	if len(seen) != 3 || seen[5000.0] == 0 || seen[5001.0] == 0 || seen[5002.0] == 0 {
		t.Errorf("codes %v", seen)
	}
}

// Answers drift in each of the known ways, and in none without the knob.
func TestDrift(t *testing.T) {
	for _, on := range []bool{false, true} {
		run(t, Config{Drift: on}, func(t *testing.T, s *Simulator, _ *inbox) {
			seen := map[string]bool{}
			for range 40 {
				id := create(t, s)
				pass(4 * time.Second)
				_, answer := ask(t, s, "GET", "/v1/videos/text2video/"+id, "")
				_, list := answer["data"].([]any)
				seen["list"] = seen["list"] || list
				seen["code"] = seen["code"] || answer["code"] == "0"
				seen["status"] = seen["status"] || text(answer, "data", "task_status") == "succeeded"
				seen["number"] = seen["number"] || text(answer, "data", "created_at") != ""
				_, answer = ask(t, s, "GET", "/tasks?task_ids="+id, "")
				_, list = answer["data"].([]any)
				seen["object"] = seen["object"] || !list
				seen["new status"] = seen["new status"] || text(answer, "data", "status") == "succeed"
			}
			for what, drifted := range seen {
				if drifted != on {
					t.Errorf("drift is %t, and that of %s was seen: %t", on, what, drifted)
				}
			}
		})
	}
}

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

func FuzzCall(f *testing.F) {
	f.Add("POST", "/v1/videos/text2video", `{"prompt":"p","duration":5,"callback_url":"https://x.example"}`)
	f.Add("POST", "/text-to-video/kling-3.0", `{"contents":[{"type":"prompt","text":"p"}],"settings":{"duration":"5"},"options":{"external_task_id":"x"}}`)
	f.Add("POST", "/tasks", `{"cursor":1,"limit":1,"filters":{"status":"failed"}}`)
	f.Add("POST", "/v1/webhooks", `{"url":"https://x.example","events":["video.created"]}`)
	f.Add("GET", "/tasks?task_ids=1,2&external_task_ids=", "")
	f.Add("GET", "/v1/videos/text2video?pageNum=9999999999&pageSize=2", "")
	f.Add("GET", "/media/1/video.mp4?token=1&expires=-9", "")
	s, err := New(Config{Keep: 10, Parallel: 10, Drift: true})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, method, path, body string) {
		r, err := http.NewRequest(method, "http://kling.test", strings.NewReader(body))
		if err != nil {
			return
		}
		if r.URL, err = r.URL.Parse(path); err != nil || !strings.HasPrefix(path, "/") {
			return
		}
		r.Header.Set("Authorization", "Bearer any")
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		if w.Code >= 500 && !strings.Contains(body, "simulate 5") {
			t.Errorf("%d %s", w.Code, w.Body)
		}
	})
}
