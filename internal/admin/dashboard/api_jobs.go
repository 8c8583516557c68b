package dashboard

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"slices"
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
	Media           []Media `json:"media" doc:"The files of the job."`
	OpenDeadLetters int     `json:"open_dead_letters" doc:"The number of the job's open dead letters."`
}

func (d *dashboard) listedJob(row store.JobRow) ListedJob {
	job := ListedJob{Job: NewJob(row.Job), OpenDeadLetters: row.OpenDeadLetters}
	job.Error = withoutLinkSecrets(job.Error)
	job.Media = listed(row.Media, func(file store.Media) Media { return d.media(file.Job, NewMedia(file)) })
	job.VideoMissing = videoMissing(row.Job, row.Media)
	return job
}

// TrackedJob is a program's metadata of a job that it submitted, as
// [source.ParseMetadata] parses it.
type TrackedJob struct {
	_            struct{}       `additionalProperties:"false"`
	Platform     string         `json:"platform,omitempty" enum:"kling" doc:"Where the job runs."`
	API          string         `json:"api,omitempty" example:"text2video" doc:"Where Kling keeps the job, if known: tasks, legacy, or a path of the legacy API. Once known, it is kept."`
	Source       string         `json:"source,omitempty" example:"klingai" doc:"The protocol that its events will have, in at most 128 bytes. An event's own counts more."`
	Prompt       string         `json:"prompt,omitempty" doc:"At most 16 KiB. An event's own counts more."`
	Model        string         `json:"model,omitempty" doc:"At most 128 bytes. An event's own counts more."`
	ExternalID   string         `json:"external_id,omitempty" doc:"Your own id of the job, in at most 256 bytes. An event's own counts more."`
	Tags         []string       `json:"tags,omitempty" maxItems:"50" doc:"Each of 1 to 128 bytes."`
	ExpectedCost string         `json:"expected_cost,omitempty" example:"0.35 USD" doc:"A decimal number, a space, and a currency or unit."`
	Metadata     map[string]any `json:"metadata,omitempty" doc:"Any object of at most 16 KiB and 16 levels. It returns unchanged in answers and forwards."`
}

type (
	jobsInput struct {
		Text     string         `query:"q" doc:"Only jobs that contain all of these words, in any order, in id, external id, prompt and error. A word may be a part of a longer one, and case does not matter. More than 8 words must stand together. If no word has three letters or digits in a row, or a character beyond ASCII, only the newest 30,000 jobs are searched, unless the other filters select few."`
		Status   []tasks.Status `query:"status" enum:"created,processing,completed,failed,cancelled,lost,test" doc:"Only jobs with one of these statuses, separated by commas."`
		Source   string         `query:"source" example:"klingai" doc:"Only jobs whose latest event has this protocol."`
		Model    string         `query:"model" doc:"Only jobs of this model."`
		Tag      string         `query:"tag" doc:"Only jobs with this tag."`
		Platform string         `query:"platform" doc:"Only jobs of this platform."`
		Since    time.Time      `query:"since" doc:"Only jobs that klinghook first heard of at or after this time."`
		Until    time.Time      `query:"until" doc:"Only jobs that klinghook first heard of before this time."`
		Limit    int            `query:"limit" minimum:"1" maximum:"200" default:"50" doc:"The most jobs to return."`
		Cursor   string         `query:"cursor" doc:"The next_cursor of the previous page."`
	}
	jobsOutput struct {
		Body struct {
			Jobs       []ListedJob `json:"jobs" doc:"In the order of their first event or metadata, newest first. The order never changes, so pages neither repeat nor skip a job."`
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
			Platform string `json:"platform" doc:"Where the job runs."`
			ID       string `json:"id" doc:"The platform's id of the job."`
			Created  bool   `json:"created" doc:"Whether the job was unknown before."`
		} `nameHint:"Tracked"`
	}
	downloadInput struct {
		JobName
		Name string `query:"name" example:"video" doc:"Only the file with this name."`
	}
	notifyInput struct {
		JobName
		Destination []string `query:"destination" doc:"Only these destinations, separated by commas, even if they were not notified before. Default: all that were."`
	}
	queuedOutput struct {
		Body struct {
			Queued int `json:"queued" doc:"The number of queued tasks."`
		} `nameHint:"Queued"`
	}
	mediaInput struct {
		JobName
		Name  string `path:"name" example:"video" doc:"The file's name in the job's media."`
		Range string `header:"Range" example:"bytes=0-1023" doc:"The bytes to send."`
	}
)

// addJobs adds the operations of jobs.
func (d *dashboard) addJobs(api huma.API) {
	const job = "/jobs/{id}"
	op := func(id, method, path, summary string, status int, errors ...int) huma.Operation {
		return huma.Operation{OperationID: id, Method: method, Path: path, Summary: summary, Tags: []string{"Jobs"}, DefaultStatus: status, Errors: errors}
	}
	add(d, api, op("list-jobs", http.MethodGet, "/jobs", "List jobs, newest first", 0), d.listJobs)
	add(d, api, op("get-job", http.MethodGet, job, "Get everything that is known about a job", 0, 404), func(ctx context.Context, in *JobName) (*jobOutput, error) {
		key, err := in.key()
		if err != nil {
			return nil, err
		}
		detail, _, err := d.detail(ctx, key)
		return &jobOutput{detail}, err
	})
	track := op("track-job", http.MethodPut, job, "Add or update what you know about a job", http.StatusOK, 400, 410, 413)
	track.Description = "Call it when you submit a job, to add what events do not contain, and so that Kling is asked about the job if no event arrives. The body may be empty, or have at most 64 KiB. " +
		"Repeat it as often as you like: fields that are left out or null keep their value, and an empty value removes it. A deleted job cannot be tracked again (410)."
	track.MaxBodyBytes = source.MaxMetadataBody
	add(d, api, track, d.trackJob)
	describeTrack(api.OpenAPI())
	remove := op("delete-job", http.MethodDelete, job, "Delete a job with everything that belongs to it", 204, 404)
	remove.Description = "Its files, events, notifications and dead letters are deleted too, and events of the job that arrive later are dropped. Repeating it is safe."
	add(d, api, remove, func(ctx context.Context, in *JobName) (*struct{}, error) {
		key, err := in.key()
		if err == nil {
			err = d.erase(ctx, key)
		}
		return nil, err
	})
	refresh := op("refresh-job", http.MethodPost, job+"/refresh", "Ask Kling about a job now", 202, 404, 409)
	refresh.Description = "A worker does it within a minute, most often at once, and records what changed as an event. Until then, the job's lookups has requested_at. The answer is 409 if no worker has credentials for Kling."
	add(d, api, refresh, func(ctx context.Context, in *JobName) (*struct{}, error) {
		key, err := in.key()
		if err == nil {
			err = d.refresh(ctx, key)
		}
		return nil, err
	})
	download := op("download-job", http.MethodPost, job+"/download", "Download the files of a job again", 202, 404, 409)
	download.Description = "A worker downloads them in the background; stored files stay until they are replaced. The answer is 409 if the job has no such file."
	add(d, api, download, func(ctx context.Context, in *downloadInput) (*queuedOutput, error) {
		return repeat(in.JobName, func(key tasks.JobKey) (int, error) { return d.download(ctx, key, in.Name) })
	})
	notify := op("notify-job", http.MethodPost, job+"/notify", "Send the notifications of a job's present state again", 202, 404, 409)
	notify.Description = "Each message gets a new webhook-id, because receivers drop known ones. The answer is 409 if there is nothing to repeat, and 422 if a destination is unknown."
	add(d, api, notify, func(ctx context.Context, in *notifyInput) (*queuedOutput, error) {
		return repeat(in.JobName, func(key tasks.JobKey) (int, error) { return d.notify(ctx, key, in.Destination) })
	})
	media := op("get-media", http.MethodGet, job+"/media/{name}", "Download a stored file", 0, 404, 416)
	media.Description = "Range (of bytes), If-Range, If-None-Match, If-Match and HEAD work as in RFC 9110; ETag is the file's SHA-256. " +
		"If the bucket signs links (S3, Google Cloud Storage, Azure), the answer redirects to one instead: follow it without your token."
	file := map[string]*huma.MediaType{"*/*": {Schema: &huma.Schema{Type: huma.TypeString, Format: "binary", Description: "The bytes, with the content_type of the file. Types that browsers could run are sent as application/octet-stream."}}}
	media.Responses = map[string]*huma.Response{
		"200": {Description: "The file", Content: file, Headers: headers("ETag")}, "206": {Description: "A part of the file", Content: file, Headers: headers("ETag", "Content-Range")},
		"304": {Description: "The file has not changed"}, "307": {Description: "Location is a signed link to the file", Headers: headers("Location")},
		"412": {Description: "If-Match or If-Unmodified-Since does not match; the answer is empty"},
	}
	add(d, api, media, func(ctx context.Context, in *mediaInput) (*huma.StreamResponse, error) {
		key, err := in.key()
		if err != nil {
			return nil, err
		}
		file, err := d.storedFile(ctx, key, in.Name)
		if errors.Is(err, store.ErrNotFound) {
			err = problemf(http.StatusNotFound, "the job has no stored file %.300q; its media lists all files", in.Name)
		}
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
	before, err := parseCursor(in.Cursor)
	if err != nil {
		return nil, err
	}
	query := store.JobQuery{
		Text: in.Text, Platform: in.Platform, Statuses: in.Status, Source: in.Source, Model: in.Model, Tag: in.Tag,
		Since: in.Since, Until: in.Until, Before: before, Limit: in.Limit + 1,
	}
	rows, err := d.cfg.Store.ListJobs(ctx, query)
	if err != nil {
		return nil, err
	}
	out := new(jobsOutput)
	if len(rows) > in.Limit {
		rows = rows[:in.Limit]
		out.Body.NextCursor = cursorOf(rows[len(rows)-1].Seq)
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
		return nil, &Problem{http.StatusBadRequest, err.Error(), "body"}
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
	put.RequestBody.Content = map[string]*huma.MediaType{"application/json": {
		Schema: description.Components.Schemas.Schema(reflect.TypeFor[TrackedJob](), true, "TrackedJob"),
		Example: map[string]any{
			"api": "text2video", "prompt": "a cat", "model": "kling-v2-master", "tags": []string{"blue"}, "expected_cost": "0.35 USD", "metadata": map[string]any{"order": 7},
		},
	}}
	api := description.Components.Schemas.Map()["TrackedJob"].Properties["api"]
	for _, name := range TrackedAPIs() {
		api.Enum = append(api.Enum, name)
	}
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
