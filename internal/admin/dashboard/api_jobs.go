package dashboard

import (
	"context"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/klinghook/klinghook/internal/kling"
	"github.com/klinghook/klinghook/internal/source"
	"github.com/klinghook/klinghook/internal/store"
	"github.com/klinghook/klinghook/tasks"
)

// ListedJob is a job in a list and in the stream.
type ListedJob struct {
	Job
	Media           []Media `json:"media"`
	OpenDeadLetters int     `json:"open_dead_letters" doc:"How many tasks of the job were given up and wait for a person."`
}

func (d *dashboard) listedJob(row store.JobRow) ListedJob {
	job := ListedJob{Job: NewJob(row.Job), OpenDeadLetters: row.OpenDeadLetters}
	job.Error = withoutLinkSecrets(job.Error)
	job.Media = listed(row.Media, func(file store.Media) Media { return d.media(file.Job, NewMedia(file)) })
	job.VideoMissing = videoMissing(row.Job, row.Media)
	return job
}

// TrackedJob is what a program says about a job that it submitted, as
// [source.ParseMetadata] reads it.
type TrackedJob struct {
	_            struct{}       `additionalProperties:"false"`
	Platform     string         `json:"platform,omitempty" enum:"kling"`
	API          string         `json:"api,omitempty" doc:"The API that created the job, if known: tasks, legacy, or a path of the legacy API such as text2video."`
	Source       string         `json:"source,omitempty" doc:"The protocol that its events will have."`
	Prompt       string         `json:"prompt,omitempty"`
	Model        string         `json:"model,omitempty"`
	ExternalID   string         `json:"external_id,omitempty" doc:"Your own id of the job."`
	Tags         []string       `json:"tags,omitempty"`
	ExpectedCost string         `json:"expected_cost,omitempty" example:"0.35 USD" doc:"An amount and a unit or currency."`
	Metadata     map[string]any `json:"metadata,omitempty" doc:"An object of at most 16 KiB, which returns in answers and forwards."`
}

type (
	jobsInput struct {
		Text     string         `query:"q" doc:"A part of the id, external id, prompt or error, in upper or lower case."`
		Status   []tasks.Status `query:"status" enum:"created,processing,completed,failed,cancelled,lost,test" doc:"Only jobs with one of these, separated by commas."`
		Source   string         `query:"source" doc:"Only jobs of this protocol."`
		Model    string         `query:"model" doc:"Only jobs of this model."`
		Tag      string         `query:"tag" doc:"Only jobs with this tag."`
		Platform string         `query:"platform" doc:"Only jobs of this platform."`
		Since    time.Time      `query:"since" doc:"Only jobs that klinghook first heard of at or after this time."`
		Until    time.Time      `query:"until" doc:"Only jobs that klinghook first heard of before this time."`
		Limit    int            `query:"limit" minimum:"1" maximum:"200" default:"50"`
		Cursor   string         `query:"cursor" doc:"next_cursor of the page before."`
	}
	jobsOutput struct {
		Body struct {
			Jobs       []ListedJob `json:"jobs" doc:"The newest first. The order never changes, so pages neither repeat nor skip a job."`
			NextCursor string      `json:"next_cursor,omitempty" doc:"Missing on the last page."`
		} `nameHint:"JobList"`
	}
	jobOutput  struct{ Body JobDetail }
	trackInput struct {
		JobName
		RawBody []byte
	}
	trackOutput struct {
		Status int
		Body   struct {
			Platform string `json:"platform"`
			ID       string `json:"id"`
			Created  bool   `json:"created" doc:"Whether the job was unknown before."`
		} `nameHint:"Tracked"`
	}
	downloadInput struct {
		JobName
		Name string `query:"name" doc:"Only the file with this name, such as video."`
	}
	notifyInput struct {
		JobName
		Destination []string `query:"destination" doc:"Only these destinations, separated by commas, also if they were not notified before."`
	}
	queuedOutput struct {
		Body struct {
			Queued int `json:"queued" doc:"How many tasks were queued."`
		} `nameHint:"Queued"`
	}
	mediaInput struct {
		JobName
		Name  string `path:"name" doc:"The file's name, such as video or thumbnail."`
		Range string `header:"Range" doc:"Which bytes to send, such as bytes=0-1023."`
	}
)

// addJobs adds the operations of jobs.
func (d *dashboard) addJobs(api huma.API) {
	const job = "/jobs/{id}"
	op := func(id, method, path, summary string, status int, errors ...int) huma.Operation {
		return huma.Operation{OperationID: id, Method: method, Path: path, Summary: summary, Tags: []string{"Jobs"}, DefaultStatus: status, Errors: errors}
	}
	add(d, api, op("list-jobs", http.MethodGet, "/jobs", "List jobs, the newest first", 0), d.listJobs)
	add(d, api, op("get-job", http.MethodGet, job, "Show everything that is known about a job", 0, 404), func(ctx context.Context, in *JobName) (*jobOutput, error) {
		key, err := in.key()
		if err != nil {
			return nil, err
		}
		detail, _, err := d.detail(ctx, key)
		return &jobOutput{detail}, err
	})
	track := op("track-job", http.MethodPut, job, "Track a job that was submitted to Kling", http.StatusOK, 400, 410, 413)
	track.Description = "Send it after you submit a job, so that Kling is asked about it if no webhook arrives. It may be repeated: the last value of each field counts. The answer is 201 if the job was unknown."
	track.MaxBodyBytes = source.MaxMetadataBody
	add(d, api, track, d.trackJob)
	describeTrack(api.OpenAPI())
	add(d, api, op("delete-job", http.MethodDelete, job, "Delete a job with everything that belongs to it", 204, 404), func(ctx context.Context, in *JobName) (*struct{}, error) {
		key, err := in.key()
		if err == nil {
			err = d.erase(ctx, key)
		}
		return nil, err
	})
	add(d, api, op("refresh-job", http.MethodPost, job+"/refresh", "Ask a worker to ask Kling about a job now", 202, 404, 409, 410), func(ctx context.Context, in *JobName) (*struct{}, error) {
		key, err := in.key()
		if err == nil {
			err = d.refresh(ctx, key)
		}
		return nil, err
	})
	add(d, api, op("download-job", http.MethodPost, job+"/download", "Download the files of a job again", 202, 404, 409), func(ctx context.Context, in *downloadInput) (*queuedOutput, error) {
		return repeat(in.JobName, func(key tasks.JobKey) (int, error) { return d.download(ctx, key, in.Name) })
	})
	add(d, api, op("notify-job", http.MethodPost, job+"/notify", "Notify of the state of a job again", 202, 404, 409), func(ctx context.Context, in *notifyInput) (*queuedOutput, error) {
		return repeat(in.JobName, func(key tasks.JobKey) (int, error) { return d.notify(ctx, key, in.Destination) })
	})
	media := op("get-media", http.MethodGet, job+"/media/{name}", "Download a stored file", 0, 404)
	media.Description = "The file is sent as it is stored, also in parts (Range). If the bucket signs links, the answer redirects to one."
	file := map[string]*huma.MediaType{"application/octet-stream": {Schema: &huma.Schema{Type: "string", Format: "binary"}}}
	media.Responses = map[string]*huma.Response{
		"200": {Description: "The file", Content: file}, "206": {Description: "A part of the file", Content: file}, "307": {Description: "Redirect to a signed link"},
	}
	add(d, api, media, func(ctx context.Context, in *mediaInput) (*huma.StreamResponse, error) {
		key, err := in.key()
		if err != nil {
			return nil, err
		}
		file, err := d.storedFile(ctx, key, in.Name)
		if err != nil {
			return nil, err
		}
		return &huma.StreamResponse{Body: func(ctx huma.Context) {
			r, w := humago.Unwrap(ctx)
			d.sendFile(w, r, file, d.cfg.LinkLifetime)
		}}, nil
	})
}

func (d *dashboard) listJobs(ctx context.Context, in *jobsInput) (*jobsOutput, error) {
	query := store.JobQuery{
		Text: in.Text, Platform: in.Platform, Statuses: in.Status, Source: in.Source, Model: in.Model, Tag: in.Tag,
		Since: in.Since, Until: in.Until, Limit: in.Limit + 1,
	}
	if in.Cursor != "" {
		before, err := strconv.ParseInt(in.Cursor, 36, 64)
		if err != nil || before < 1 {
			return nil, badCursor()
		}
		query.Before = before
	}
	rows, err := d.cfg.Store.ListJobs(ctx, query)
	if err != nil {
		return nil, err
	}
	out := new(jobsOutput)
	if len(rows) > in.Limit {
		rows = rows[:in.Limit]
		out.Body.NextCursor = strconv.FormatInt(rows[len(rows)-1].Seq, 36)
	}
	out.Body.Jobs = listed(rows, d.listedJob)
	return out, nil
}

func (d *dashboard) trackJob(ctx context.Context, in *trackInput) (*trackOutput, error) {
	platform, metadata, err := source.ParseMetadata(in.RawBody)
	switch {
	case err != nil:
	case in.Platform != platform:
		err = fmt.Errorf("jobs of the platform %q cannot be tracked; leave platform out", in.Platform)
	default:
		err = source.CheckJobID(in.ID)
	}
	if err == nil && metadata.API != "" && !slices.Contains(TrackedAPIs(), metadata.API) {
		err = fmt.Errorf("api is %q; it must be one of %s", metadata.API, strings.Join(TrackedAPIs(), ", "))
	}
	if err != nil {
		return nil, problemf(http.StatusBadRequest, "%s", err)
	}
	created, err := d.cfg.Store.Track(ctx, tasks.JobKey{Platform: platform, ID: in.ID}, metadata, time.Now())
	if err != nil {
		return nil, err
	}
	out := &trackOutput{Status: http.StatusOK}
	if created {
		out.Status = http.StatusCreated
	}
	out.Body.Platform, out.Body.ID, out.Body.Created = platform, in.ID, created
	return out, nil
}

// TrackedAPIs returns the names of the APIs in which Kling keeps jobs.
func TrackedAPIs() []string {
	names := []string{tasks.APITasks, tasks.APILegacy}
	for _, kind := range kling.Kinds() {
		if kind != kling.KindTasks {
			names = append(names, string(kind))
		}
	}
	return names
}

// describeTrack describes the body that trackJob reads itself.
func describeTrack(description *huma.OpenAPI) {
	put := description.Paths["/jobs/{id}"].Put
	put.RequestBody.Required = false
	put.RequestBody.Content = map[string]*huma.MediaType{"application/json": {Schema: description.Components.Schemas.Schema(reflect.TypeFor[TrackedJob](), true, "TrackedJob")}}
	put.Responses["201"] = &huma.Response{Description: "The job was unknown before", Content: put.Responses["200"].Content}
}

// repeat repeats work of a job and returns how much was queued.
func repeat(name JobName, again func(tasks.JobKey) (int, error)) (*queuedOutput, error) {
	key, err := name.key()
	if err != nil {
		return nil, err
	}
	out := new(queuedOutput)
	out.Body.Queued, err = again(key)
	return out, err
}
