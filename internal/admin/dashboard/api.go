package dashboard

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
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

// apiVersion is the version of the API's description.
const apiVersion = "1.0.0"

const apiDescription = `klinghook receives the webhooks of Kling's jobs, stores their files and notifies people and programs.

Authentication: send a token of KLINGHOOK_ADMIN_TOKEN as "Authorization: Bearer <token>". A token of KLINGHOOK_ADMIN_VIEWER_TOKEN can read and change nothing. klinghook dev needs no token.

Lists: an answer that is not the last page has next_cursor. Send it as cursor, with the same filters, to get the next page. Treat cursors as opaque, and escape them.

Errors: all are problem details (RFC 9457). Show detail to people, and branch on the status. If a parameter or field is invalid, errors lists each with its location. Unknown query parameters are errors too.

Values: times are RFC 3339 in UTC; in a query, write a plus sign as %2B. A field that is not required is missing if its value is unknown or empty. Later versions may add fields and values. Links in answers have no signatures.`

// errorTexts describe the statuses of problem details.
var errorTexts = map[string]string{
	"400": "The body is missing or invalid",
	"401": "The token is missing or wrong",
	"403": "A viewer may not do this, or the Host header is unknown (KLINGHOOK_ADMIN_HOSTS)",
	"404": "Not found",
	"409": "Not possible in the present state; detail says why",
	"410": "The job was deleted",
	"413": "The body is too large",
	"415": "Content-Type is not application/json",
	"416": "Range is malformed, or begins after the end of the file",
	"422": "A parameter or field is invalid",
	"500": "An unexpected error",
	"503": "The database, Redis or the bucket did not answer; try again after the seconds in Retry-After",
}

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
	d.addJobs(api.huma)
	d.addEvents(api.huma)
	d.addFailureOperations(api.huma)
	d.addOperation(api.huma)
	describe(api.huma.OpenAPI())
	return api
}

// describe corrects huma's description: lists are never null here, and errors have texts.
func describe(description *huma.OpenAPI) {
	for _, schema := range description.Components.Schemas.Map() {
		for _, property := range schema.Properties {
			property.Nullable = property.Nullable && property.Type != huma.TypeArray
		}
	}
	for _, item := range description.Paths {
		for _, op := range []*huma.Operation{item.Get, item.Put, item.Post, item.Delete} {
			if op == nil {
				continue
			}
			for _, param := range op.Parameters {
				param.Schema.Nullable = false
			}
			for status, answer := range op.Responses {
				answer.Description = cmp.Or(errorTexts[status], answer.Description)
			}
		}
	}
}

// explain copies the reason for a problem to its detail. huma has it only in errors.
func explain(ctx huma.Context, _ string, answer any) (any, error) {
	problem, ok := answer.(*huma.ErrorModel)
	if !ok {
		return answer, nil
	}
	for _, each := range problem.Errors {
		if strings.HasPrefix(each.Message, "invalid date/time") { // it shows Go's format
			each.Message = "expected a time such as 2026-01-31T09:30:00Z"
		}
	}
	switch {
	case problem.Status == http.StatusRequestEntityTooLarge:
		problem.Detail = fmt.Sprintf("the body is larger than %d bytes", ctx.Operation().MaxBodyBytes)
	case len(problem.Errors) > 0:
		problem.Detail = problem.Errors[0].Location + ": " + problem.Errors[0].Message
	}
	return problem, nil
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
		panic("describe the API: " + err.Error()) // a programming error
	}
	return append(text, '\n')
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
	op.Errors = append(op.Errors, http.StatusUnauthorized, http.StatusForbidden, http.StatusServiceUnavailable)
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

// badCursor is the error for a cursor that the API did not return.
func badCursor() *Problem {
	return problemf(http.StatusUnprocessableEntity, "cursor is not the next_cursor of an answer; leave it out to begin with the first page")
}
