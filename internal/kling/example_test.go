package kling_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"

	"github.com/klinghook/klinghook/internal/kling"
)

// A job is looked up without knowing where Kling keeps it. A program gives Kling's
// own BaseURL, and a key of its environment.
func ExampleClient_Job() {
	srv := httptest.NewServer(http.HandlerFunc(playKling))
	defer srv.Close()
	client, err := kling.New(kling.Config{BaseURL: srv.URL, APIKey: "my-key"})
	if err != nil {
		fmt.Println(err)
		return
	}

	for _, id := range []string{"866168216002236456", "893605946402811985"} {
		job, err := client.Job(context.Background(), id, kling.KindTasks, kling.KindText2Video)
		switch {
		case errors.Is(err, kling.ErrNotFound):
			fmt.Printf("%s: Kling does not know it\n", id)
		case err != nil:
			fmt.Printf("%s: %s: %v\n", id, kling.VerdictOf(err), err)
		default:
			fmt.Printf("%s: %s in %s, %d video of %s\n", id, job.Status, job.Kind, len(job.Outputs), job.Outputs[0].Duration)
		}
	}
	// Output:
	// 866168216002236456: completed in text2video, 1 video of 5.1s
	// 893605946402811985: Kling does not know it
}

// playKling is a Kling with one job, a legacy one.
func playKling(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/tasks":
		_, _ = io.WriteString(w, `{"code":0,"message":"SUCCEED","request_id":"r1","data":[]}`)
	case "/v1/videos/text2video/866168216002236456":
		_, _ = io.WriteString(w, `{"code":0,"message":"SUCCEED","request_id":"r2","data":{
			"task_id":"866168216002236456","task_status":"succeed","task_status_msg":"","created_at":1722769557708,"updated_at":1722769557999,
			"task_result":{"videos":[{"id":"v1","url":"https://cdn.klingai.com/v1.mp4","duration":"5.1"}]}}}`)
	default:
		w.WriteHeader(http.StatusNotFound)
		_, _ = io.WriteString(w, `{"code":1203,"message":"task not found","request_id":"r3"}`)
	}
}
