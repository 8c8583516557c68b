// This program uses the API with a client that oapi-codegen makes from docs/openapi.json.
// Its arguments are the API's address and a token.
package main

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"os"
	"time"

	_ "github.com/oapi-codegen/runtime" // the generated file needs it
)

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := use(ctx, os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// use tracks a job, follows it through lists and details, and replays what failed.
func use(ctx context.Context, server, token string) error {
	client, err := NewClientWithResponses(server, WithRequestEditorFn(func(_ context.Context, r *http.Request) error {
		r.Header.Set("Authorization", "Bearer "+token)
		return nil
	}))
	if err != nil {
		return err
	}
	prompt, tags := "a cat", []string{"blue"}
	tracked, err := client.TrackJobWithResponse(ctx, "a/b", nil, TrackedJob{Prompt: &prompt, Tags: &tags})
	if err != nil || tracked.JSON201 == nil || !tracked.JSON201.Created {
		return fmt.Errorf("track: %v %s", err, tracked.Body)
	}
	since, limit := time.Now().Add(-time.Hour), int64(1)
	found := map[string]ListedJob{}
	for params := (ListJobsParams{Since: &since, Limit: &limit, Status: &[]ListJobsParamsStatus{"created", "completed"}}); ; {
		page, err := client.ListJobsWithResponse(ctx, &params)
		if err != nil || page.JSON200 == nil {
			return fmt.Errorf("list jobs: %v %s", err, page.Body)
		}
		for _, job := range page.JSON200.Jobs {
			found[job.Id] = job
		}
		if params.Cursor = page.JSON200.NextCursor; params.Cursor == nil {
			break
		}
	}
	if job := found["a/b"]; len(found) != 2 || job.Progress != nil || *job.Prompt != prompt {
		return fmt.Errorf("the jobs are %+v", found)
	}
	detail, err := client.GetJobWithResponse(ctx, "vid_1", nil)
	if err != nil || detail.JSON200 == nil || *detail.JSON200.Progress != 100 || len(detail.JSON200.Events) != 1 || *detail.JSON200.Media[0].DownloadUrl == "" {
		return fmt.Errorf("job: %v %s", err, detail.Body)
	}
	part := "bytes=0-3"
	file, err := client.GetMediaWithResponse(ctx, "vid_1", "video", &GetMediaParams{Range: &part})
	if err != nil || file.StatusCode() != http.StatusPartialContent || !bytes.Equal(file.Body, []byte("0123")) {
		return fmt.Errorf("media: %v %s", err, file.Body)
	}
	missing, err := client.GetJobWithResponse(ctx, "nothing", nil)
	if err != nil || missing.ApplicationproblemJSON404 == nil || missing.ApplicationproblemJSON404.Detail == "" {
		return fmt.Errorf("unknown job: %v %s", err, missing.Body)
	}
	return replay(ctx, client)
}

// replay replays the dead letters of the largest group.
func replay(ctx context.Context, client *ClientWithResponses) error {
	letters, err := client.ListDeadlettersWithResponse(ctx, nil)
	if err != nil || letters.JSON200 == nil || len(letters.JSON200.Groups) == 0 {
		return fmt.Errorf("list dead letters: %v %s", err, letters.Body)
	}
	group, one, ended := letters.JSON200.Groups[0], int64(1), int64(0)
	for body := (EndLetters{Filter: &LetterFilter{Cause: &group.Cause}, Limit: &one}); ; {
		page, err := client.ReplayDeadlettersWithResponse(ctx, body)
		if err != nil || page.JSON200 == nil {
			return fmt.Errorf("replay: %v %s", err, page.Body)
		}
		ended += page.JSON200.Ended
		if body.Cursor = page.JSON200.NextCursor; body.Cursor == nil {
			break
		}
	}
	if ended != group.Count || ended < 2 {
		return fmt.Errorf("%d of %d dead letters were replayed", ended, group.Count)
	}
	return nil
}
