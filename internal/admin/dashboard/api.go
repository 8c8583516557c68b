package dashboard

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/klinghook/klinghook/internal/admin"
	"github.com/klinghook/klinghook/internal/source"
	"github.com/klinghook/klinghook/tasks"
)

// APIPath is where the API is served, below the prefix.
const APIPath = "/api/v1"

// apiPolicy forbids everything: answers of the API are no pages.
const apiPolicy = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; sandbox"

// apiVersion is the version of the API's description.
const apiVersion = "1.0.0"

const apiDescription = `klinghook receives the webhooks of Kling's jobs, stores their files and notifies people and programs.

Send one of KLINGHOOK_ADMIN_TOKEN's tokens as "Authorization: Bearer <token>", or one of KLINGHOOK_ADMIN_VIEWER_TOKEN's, which may read but change nothing. ` +
	`Lists are pages: send next_cursor of an answer as cursor to get the next one. Errors are problem details (RFC 9457): detail says what to do. ` +
	`Links contain no signatures, and times are RFC 3339.`

// apiHandler is the API with its description.
type apiHandler struct {
	mux  *http.ServeMux
	huma huma.API
}

// newAPI returns the API of everything that the dashboard has.
func (d *dashboard) newAPI() *apiHandler {
	config := huma.DefaultConfig("klinghook", apiVersion)
	config.OpenAPIPath, config.DocsPath, config.SchemasPath, config.CreateHooks = "", "", "", nil
	config.AllowAdditionalPropertiesByDefault = true // later versions may add fields to answers
	config.Info.Description = apiDescription
	config.Info.License = &huma.License{Name: "Apache 2.0", Identifier: "Apache-2.0"}
	config.Servers = []*huma.Server{{URL: d.cfg.Prefix + APIPath}}
	config.Components.SecuritySchemes = map[string]*huma.SecurityScheme{"token": {Type: "http", Scheme: "bearer", Description: "One of KLINGHOOK_ADMIN_TOKEN's or KLINGHOOK_ADMIN_VIEWER_TOKEN's tokens."}}
	config.Security = []map[string][]string{{"token": {}}}
	config.Tags = []*huma.Tag{
		{Name: "Jobs", Description: "Jobs and their files."}, {Name: "Events", Description: "Deliveries, as they arrived."},
		{Name: "Failures", Description: "Dead letters: work that was given up."}, {Name: "Operation", Description: "What klinghook is doing."},
	}
	api := &apiHandler{mux: http.NewServeMux()}
	api.huma = humago.NewWithPrefix(api.mux, d.cfg.Prefix+APIPath, config)
	d.addJobs(api.huma)
	d.addEvents(api.huma)
	d.addFailureOperations(api.huma)
	d.addOperation(api.huma)
	describeLists(api.huma.OpenAPI())
	return api
}

// describeLists describes lists as what they are here: never null.
func describeLists(description *huma.OpenAPI) {
	for _, schema := range description.Components.Schemas.Map() {
		for _, property := range schema.Properties {
			property.Nullable = property.Nullable && property.Type != huma.TypeArray
		}
	}
	for _, item := range description.Paths {
		for _, op := range []*huma.Operation{item.Get, item.Post} {
			if op != nil {
				for _, param := range op.Parameters {
					param.Schema.Nullable = false
				}
			}
		}
	}
}

// OpenAPI returns the description of the API, in OpenAPI 3.1.
func (a *apiHandler) OpenAPI() []byte {
	var sorted any // huma keeps some parts in maps
	text, err := json.Marshal(a.huma.OpenAPI())
	if err == nil {
		err = json.Unmarshal(text, &sorted)
	}
	if err == nil {
		text, err = json.MarshalIndent(sorted, "", "  ")
	}
	if err != nil {
		panic("describe the API: " + err.Error()) // it depends on nothing but the code
	}
	return append(text, '\n')
}

// routeAPI serves the API and its description. PUT /jobs/<id> is the API's.
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

// add adds an operation to the API. It answers errors as problemOf says.
func add[In, Out any](d *dashboard, api huma.API, op huma.Operation, serve func(context.Context, *In) (*Out, error)) {
	op.Errors = append(op.Errors, http.StatusUnauthorized, http.StatusServiceUnavailable)
	if op.Method != http.MethodGet {
		op.Errors = append(op.Errors, http.StatusForbidden)
	}
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
		answer := huma.NewError(problem.Status, problem.Detail)
		if problem.Status == http.StatusServiceUnavailable {
			return nil, huma.ErrorWithHeaders(answer, http.Header{"Retry-After": {"5"}})
		}
		return nil, answer
	})
}

// JobName names a job.
type JobName struct {
	ID       string `path:"id" doc:"The platform's id of the job. Write a slash in it as %2F." example:"893605946402811985"`
	Platform string `query:"platform" default:"kling" doc:"Where the job runs."`
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

// badCursor is the answer to a cursor that no answer contained.
func badCursor() *Problem {
	return problemf(http.StatusUnprocessableEntity, "cursor is not next_cursor of an answer; leave it out to begin with the first page")
}
