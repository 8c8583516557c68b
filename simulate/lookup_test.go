package simulate

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

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
