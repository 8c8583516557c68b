package simulate

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestNewReportsMistakesWithoutSecrets(t *testing.T) {
	tests := []struct {
		name string
		cfg  Config
		want string
	}{
		{"share above 1", Config{Lost: 1.5}, "lost must be between 0 and 1, not 1.5"},
		{"shares above 1 together", Config{Fail: 0.6, Cancel: 0.6}, "fail and cancel together must be between 0 and 1"},
		{"unknown protocol", Config{Protocol: "soap"}, "[as-created official official-legacy seed]"},
		{"negative time", Config{Duration: -1}, "times must not be negative"},
		{"small video", Config{MediaSize: 39}, "must be at least 40 bytes"},
		{"negative rate", Config{LookupRate: -1}, "must not be negative"},
		{"half a pair of keys", Config{AccessKey: "a"}, "needs a secret key"},
		{"secret in another form", Config{OfficialSecret: "hush!"}, `must be "whsec_" and base64`},
		{"empty secret", Config{OfficialSecret: "whsec_"}, `must be "whsec_" and base64`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := New(t.Context(), tt.cfg)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("err = %v, want %q", err, tt.want)
			}
			if strings.Contains(err.Error(), "hush") {
				t.Errorf("%q shows a secret", err)
			}
		})
	}
}

func TestAnswersHaveTheDocumentedShapes(t *testing.T) {
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
			"id": other, "status": "succeeded", "message": "", "create_time": now, "update_time": now + 4000, "external_id": "other",
			"billing": []any{map[string]any{"charge_type": "unit", "amount": "1", "package_type": "video"}},
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

func TestJobsPassThroughTheirStates(t *testing.T) {
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

func TestPromptSelectsTheErrorCode(t *testing.T) {
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

func TestInvalidCallsAreRefused(t *testing.T) {
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
		{"no ids", "GET /tasks?task_ids=,", ``, 400, 1200},
		{"both ids", "GET /tasks?task_ids=1&external_task_ids=2", ``, 400, 1200},
		{"21 ids", "GET /tasks?task_ids=" + strings.Repeat("1,", 21), ``, 400, 1201},
		{"a task of the other form", "GET /v1/videos/text2video/newer", ``, 404, 1203},
	}
	s := newSimulator(t, Config{})
	createWith(t, s, `{"prompt":"p","external_task_id":"taken"}`)
	ask(t, s, "POST", "/text-to-video/kling-3.0", `{"prompt":"p","options":{"external_task_id":"newer"}}`)
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

func TestCredentialsAreChecked(t *testing.T) {
	now := time.Now()
	token := func(secret, iss string, exp, nbf time.Duration) string {
		encode := base64.RawURLEncoding.EncodeToString
		claims := fmt.Appendf(nil, `{"iss":%q,"exp":%d,"nbf":%d}`, iss, now.Add(exp).Unix(), now.Add(nbf).Unix())
		signed := encode([]byte(`{"alg":"HS256","typ":"JWT"}`)) + "." + encode(claims)
		mac := hmac.New(sha256.New, []byte(secret))
		mac.Write([]byte(signed))
		return "Bearer " + signed + "." + encode(mac.Sum(nil))
	}
	const half = 30 * time.Minute
	anybody, key, pair := Config{}, Config{APIKey: "key-1"}, Config{AccessKey: "access", SecretKey: "secret"}
	tests := []struct {
		name          string
		cfg           Config
		authorization string
		path          string  // default a legacy one
		want          float64 // the code
	}{
		{"any key", anybody, "Bearer any", "", 0},
		{"any key, new form", anybody, "Bearer any", "/tasks?task_ids=1", 0},
		{"any token", anybody, token("x", "y", half, -5), "", 0},
		{"nothing", anybody, "", "", 1001},
		{"no Bearer", anybody, "any", "", 1002},
		{"an empty Bearer", anybody, "Bearer ", "", 1002},
		{"a token in the new form", anybody, token("x", "y", half, -5), "/tasks?task_ids=1", 1002},
		{"the key", key, "Bearer key-1", "", 0},
		{"another key", key, "Bearer key-2", "", 1002},
		{"a token for a key", key, token("secret", "access", half, -5), "", 1002},
		{"the pair", pair, token("secret", "access", half, -5), "", 0},
		{"another secret", pair, token("other", "access", half, -5), "", 1000},
		{"another issuer", pair, token("secret", "other", half, -5), "", 1000},
		{"the pair, expired", pair, token("secret", "access", -time.Second, -half), "", 1004},
		{"the pair, too early", pair, token("secret", "access", half, time.Minute), "", 1003},
		{"no JWT", pair, "Bearer a.b.c", "", 1002},
		{"a key for a pair", pair, "Bearer key-1", "", 1002},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := tt.path
			if path == "" {
				path = "/v1/videos/text2video/unknown"
			}
			status, answer := askAs(t, newSimulator(t, tt.cfg), tt.authorization, "GET", path, "")
			if accepted := answer["code"] == 0.0 || answer["code"] == 1203.0; accepted != (tt.want == 0) || !accepted && (answer["code"] != tt.want || status != http.StatusUnauthorized) {
				t.Errorf("%d %v, want code %v", status, answer, tt.want)
			}
		})
	}
}

func TestFinishedJobsAreForgotten(t *testing.T) {
	run(t, Config{Parallel: 10, Keep: 4}, func(t *testing.T, s *Simulator, _ *inbox) {
		var made []string
		for range 10 {
			made = append(made, createWith(t, s, `{"prompt":"p"}`))
			pass(time.Millisecond) // they end one after another
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
		compare(t, "jobs", JobStats{Created: 11, InHand: 1, Succeeded: 4}, s.Stats().Jobs)
	})
}

func TestTroubleReturnsServerErrors(t *testing.T) {
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

func TestAnswersVaryOnlyWithDrift(t *testing.T) {
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
				id = createNew(t, s)
				pass(4 * time.Second)
				_, answer = ask(t, s, "GET", "/tasks?task_ids="+id, "")
				_, list = answer["data"].([]any)
				seen["object"] = seen["object"] || !list
				seen["new status"] = seen["new status"] || text(answer, "data", "status") == "succeed"
			}
			for what, drifted := range seen {
				if drifted != on {
					t.Errorf("drift %t: %s drifted: %t", on, what, drifted)
				}
			}
		})
	}
}

// createNew creates a job in the new form and returns its id.
func createNew(t *testing.T, s *Simulator) string {
	t.Helper()
	_, answer := ask(t, s, "POST", "/text-to-video/kling-3.0", `{"prompt":"p"}`)
	return text(answer, "data", "id")
}

func FuzzCall(f *testing.F) {
	f.Add("POST", "/v1/videos/text2video", `{"prompt":"p","duration":5,"callback_url":"https://x.example"}`)
	f.Add("POST", "/text-to-video/kling-3.0", `{"contents":[{"type":"prompt","text":"p"}],"settings":{"duration":"5"},"options":{"external_task_id":"x"}}`)
	f.Add("GET", "/tasks?task_ids=1,2&external_task_ids=", "")
	f.Add("GET", "/v1/videos/text2video/1", "")
	f.Add("GET", "/media/1/video.mp4?token=1&expires=-9", "")
	s, err := New(f.Context(), Config{Keep: 10, Parallel: 10, Drift: true})
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
