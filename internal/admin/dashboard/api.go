package dashboard

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/klinghook/klinghook/internal/admin"
	"github.com/klinghook/klinghook/internal/source"
	"github.com/klinghook/klinghook/tasks"
)

// APIPath is the path of the API, below the prefix.
const APIPath = "/api/v1"

// apiPolicy forbids everything: responses of the API are not pages.
const apiPolicy = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; sandbox"

// apiHandler is the API with its description.
type apiHandler struct {
	mux  *http.ServeMux
	huma huma.API
}

// newAPI returns the API of the dashboard.
func (d *dashboard) newAPI() *apiHandler {
	config := huma.DefaultConfig("klinghook", apiVersion)
	config.OpenAPIPath, config.DocsPath, config.SchemasPath, config.CreateHooks = "", "", "", nil
	config.AllowAdditionalPropertiesByDefault = true // later versions may add fields to answers
	config.RejectUnknownQueryParameters = true       // a misspelt filter would select everything
	config.Transformers = []huma.Transformer{explain}
	config.Info.Description = apiDescription
	config.Info.License = &huma.License{Name: "Apache 2.0", Identifier: "Apache-2.0"}
	config.Servers = []*huma.Server{{URL: d.cfg.Prefix + APIPath}}
	config.Components.SecuritySchemes = map[string]*huma.SecurityScheme{"token": {Type: "http", Scheme: "bearer", Description: "A token of KLINGHOOK_ADMIN_TOKEN (operator) or KLINGHOOK_ADMIN_VIEWER_TOKEN (viewer)."}}
	config.Security = []map[string][]string{{"token": {}}}
	config.Tags = []*huma.Tag{
		{Name: "Jobs", Description: "Jobs and their files."}, {Name: "Events", Description: "What Kling reported about jobs, as it arrived."},
		{Name: "Failures", Description: "Dead letters: tasks that ran out of attempts or cannot succeed."}, {Name: "Operation", Description: "What klinghook is doing."},
	}
	api := &apiHandler{mux: http.NewServeMux()}
	api.huma = humago.NewWithPrefix(api.mux, d.cfg.Prefix+APIPath, config)
	api.huma.UseMiddleware(func(ctx huma.Context, next func(huma.Context)) {
		url := ctx.URL()
		if problem := checkQuery(ctx.Method(), url.RawQuery); problem != nil {
			_ = huma.WriteErr(api.huma, ctx, problem.Status, problem.Detail, problem.details()...) // The client may have gone.
			return
		}
		next(ctx)
	})
	d.addJobs(api.huma)
	d.addEvents(api.huma)
	d.addFailureOperations(api.huma)
	d.addOperation(api.huma)
	describe(api.huma.OpenAPI())
	return api
}

// checkQuery refuses a query that could select more than the client meant. An empty
// parameter is like a missing one, but only where nothing is changed.
func checkQuery(method, query string) *Problem {
	values, err := url.ParseQuery(query)
	if err != nil {
		return invalid("query", "it is malformed: %s; escape %% as %%25 and ; as %%3B", err)
	}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		switch list := values[name]; {
		case len(list) > 1:
			return invalid("query."+name, "expected it once; separate the values of a list with commas")
		case list[0] == "" && method != http.MethodGet && method != http.MethodHead:
			return invalid("query."+name, "expected a value; leave the parameter out to select all")
		}
	}
	return nil
}

// explain copies the reason for a problem to its detail. huma has it only in errors.
func explain(ctx huma.Context, _ string, answer any) (any, error) {
	problem, ok := answer.(*huma.ErrorModel)
	if !ok {
		return answer, nil
	}
	for _, each := range problem.Errors {
		switch {
		case strings.HasPrefix(each.Message, "invalid date/time"): // it shows Go's format
			each.Message = "expected a time such as 2026-01-31T09:30:00Z"
		case strings.HasPrefix(each.Message, "json: "): // it shows Go's types
			each.Message = "a field has the wrong type, or a number is too large"
		}
		if strings.HasPrefix(each.Location, "body") {
			each.Value = nil // often the whole body
		}
	}
	switch {
	case problem.Status == http.StatusRequestEntityTooLarge:
		problem.Detail = fmt.Sprintf("the body is larger than %d bytes", ctx.Operation().MaxBodyBytes)
	case len(problem.Errors) > 0 && problem.Errors[0].Location == "body":
		problem.Detail = problem.Errors[0].Message
	case len(problem.Errors) > 0:
		problem.Detail = problem.Errors[0].Location + ": " + problem.Errors[0].Message
	}
	return problem, nil
}

// routeAPI serves the API and its description. PUT /jobs/<id> belongs to the API too.
func (d *dashboard) routeAPI(mux *http.ServeMux) {
	api := d.newAPI()
	description := api.OpenAPI()
	root := d.cfg.Prefix + APIPath
	api.mux.HandleFunc("GET "+root+"/openapi.json", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/openapi+json")
		_, _ = w.Write(description) // The client may have gone.
	})
	mux.Handle(d.cfg.Prefix+"/api/", admin.Protect(d.cfg.Hosts, apiPolicy, api))
	mux.Handle("PUT "+d.cfg.Prefix+"/jobs/{id}", admin.Protect(d.cfg.Hosts, apiPolicy, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		moved := r.Clone(r.Context())
		moved.URL.Path = root + strings.TrimPrefix(r.URL.Path, d.cfg.Prefix)
		moved.URL.RawPath = root + strings.TrimPrefix(r.URL.EscapedPath(), d.cfg.Prefix)
		api.ServeHTTP(w, moved)
	})))
	d.routePage(mux, "GET", APIPath+"/docs", d.docsPage(api.huma.OpenAPI()))
}

// ServeHTTP serves the API. Unknown paths and methods get problem details too.
func (a *apiHandler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	handler, pattern := a.mux.Handler(r)
	if pattern != "" {
		a.mux.ServeHTTP(w, r)
		return
	}
	answer := recorder{header: make(http.Header)}
	handler.ServeHTTP(&answer, r)
	detail := "there is nothing at this path; " + APIPath + "/docs lists the paths"
	if answer.status == http.StatusMethodNotAllowed {
		detail = "this path accepts only " + answer.header.Get("Allow")
		w.Header().Set("Allow", answer.header.Get("Allow"))
	}
	admin.Refuse(w, r, answer.status, detail)
}

// add adds an operation to the API. It converts errors with problemOf.
func add[In, Out any](d *dashboard, api huma.API, op huma.Operation, serve func(context.Context, *In) (*Out, error)) {
	op.Errors = append(op.Errors, http.StatusUnauthorized, http.StatusForbidden, http.StatusUnprocessableEntity, http.StatusServiceUnavailable)
	huma.Register(api, op, func(ctx context.Context, in *In) (*Out, error) {
		out, err := serve(ctx, in)
		if err == nil {
			return out, nil
		}
		var known huma.StatusError
		if errors.As(err, &known) {
			return nil, known
		}
		problem := d.problemOf(err)
		answer := huma.NewError(problem.Status, problem.Detail, problem.details()...)
		if problem.Status == http.StatusServiceUnavailable {
			return nil, huma.ErrorWithHeaders(answer, http.Header{"Retry-After": {"5"}})
		}
		return nil, answer
	})
}

// JobName names a job.
type JobName struct {
	ID       string `path:"id" doc:"The platform's id of the job. Escape it: a slash is %2F." example:"893605946402811985"`
	Platform string `query:"platform" default:"kling" doc:"Where the job runs; kling is the only platform so far."`
}

// key returns the job's key. No job has an id that cannot be stored.
func (j JobName) key() (tasks.JobKey, error) {
	key := tasks.JobKey{Platform: j.Platform, ID: j.ID}
	if err := source.CheckJobID(j.ID); err != nil || strings.ContainsRune(j.Platform, 0) {
		return key, problemf(http.StatusNotFound, "there is no such job")
	}
	return key, nil
}

// listed returns a list, never nil: [] in JSON.
func listed[From, To any](list []From, convert func(From) To) []To {
	converted := make([]To, len(list))
	for i, item := range list {
		converted[i] = convert(item)
	}
	return converted
}

// onlyJob returns the job that a list is limited to. A platform without an id would select
// all jobs.
func onlyJob(location, platform, id string) (tasks.JobKey, error) {
	if id == "" && platform != tasks.PlatformKling {
		return tasks.JobKey{}, invalid(location+".platform", "it needs job_id")
	}
	return tasks.JobKey{Platform: platform, ID: id}, nil
}

// cursorOf returns the cursor of the rows after a number, and parseCursor the number of a
// query's cursor; 0 if it has none.
func cursorOf(number int64) string { return strconv.FormatInt(number, 36) }

func parseCursor(text string) (int64, error) {
	if text == "" {
		return 0, nil
	}
	number, err := strconv.ParseInt(text, 36, 64)
	if err != nil || number < 1 {
		return 0, badCursor("query.cursor")
	}
	return number, nil
}

// badCursor is the error for a cursor that the API did not return.
func badCursor(location string) *Problem {
	return invalid(location, "expected the next_cursor of an answer; leave it out to begin with the first page")
}
