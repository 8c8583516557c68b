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
		var legacy, newer []string // the newest first
		for range 7 {
			legacy = append([]string{create(t, s)}, legacy...)
			newer = append([]string{createNew(t, s)}, newer...)
			pass(time.Second)
		}
		var got []string
		for page := range 4 {
			_, answer := ask(t, s, "GET", fmt.Sprintf("/v1/videos/text2video?pageNum=%d&pageSize=3", page+1), "")
			got = append(got, ids(t, answer["data"], "task_id")...)
		}
		compare(t, "pages of 3", legacy, got)
		_, answer := ask(t, s, "GET", "/v1/videos/text2video", "")
		compare(t, "a page", legacy, ids(t, answer["data"], "task_id"))
		_, answer = ask(t, s, "GET", "/v1/videos/image2video", "")
		compare(t, "of another kind", []string(nil), ids(t, answer["data"], "task_id"))

		for what, tt := range map[string]struct {
			body string
			want []string
		}{
			"all":                {`{}`, newer},
			"by time":            {fmt.Sprintf(`{"start_time":"%d","end_time":%d}`, begun+1000, begun+2000), newer[4:6]},
			"by status":          {`{"filters":[{"key":"status","values":["succeeded","failed"]}]}`, newer[3:]},
			"by product":         {`{"filters":[{"key":"product_type","values":["image"]}]}`, nil},
			"by both":            {`{"filters":[{"key":"product_type","values":["video"]},{"key":"status","values":["processing"]}]}`, newer[:3]},
			"the first":          {`{"limit":1}`, newer[:1]},
			"where a page ended": {`{"cursor":"` + newer[4] + `"}`, newer[5:]},
		} {
			_, answer = ask(t, s, "POST", "/tasks", tt.body)
			data, _ := answer["data"].(map[string]any)
			compare(t, what, tt.want, ids(t, data["result"], "id"))
			if data["count"] != float64(len(tt.want)) || data["has_more"] != (what == "the first") {
				t.Errorf("%s: %v", what, data)
			}
		}
		_, answer = ask(t, s, "GET", "/tasks?task_ids="+strings.Join(append(newer, newer...), ","), "")
		compare(t, "by id, each once", newer, ids(t, answer["data"], "id"))
	})
}

// createNew makes a job of the new form and returns its id.
func createNew(t *testing.T, s *Simulator) string {
	t.Helper()
	_, answer := ask(t, s, "POST", "/text-to-video/kling-3.0", `{"prompt":"p"}`)
	return text(answer, "data", "id")
}

func ids(t *testing.T, data any, key string) []string {
	t.Helper()
	list, ok := data.([]any)
	if !ok {
		t.Fatalf("the data is no list: %v", data)
	}
	var found []string
	for _, task := range list {
		found = append(found, text(task, key))
	}
	return found
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
				id = createNew(t, s)
				pass(4 * time.Second)
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
