package dashboard

import (
	"cmp"
	"encoding/json"

	"github.com/danielgtaylor/huma/v2"
)

// apiVersion is the version of the API's description.
const apiVersion = "1.0.0"

const apiDescription = `klinghook receives the webhooks of Kling's jobs, stores their files and notifies people and programs.

Authentication: send a token of KLINGHOOK_ADMIN_TOKEN as "Authorization: Bearer <token>". A token of KLINGHOOK_ADMIN_VIEWER_TOKEN can read and change nothing. klinghook dev needs no token.

Parameters: unknown and repeated ones are errors. Separate the values of a list with commas. An empty one is like a missing one in GET, and an error elsewhere.

Lists: an answer that is not the last page has next_cursor. Send it as cursor, with the same filters, to get the next page. Treat cursors as opaque, and escape them.

Errors: all are problem details (RFC 9457). Show detail to people, and branch on the status. errors lists the invalid parameters and fields, each with its location.

Values: times are RFC 3339 in UTC; in a query, write a plus sign as %2B. A field that is not required is missing if its value is unknown or empty. Later versions may add fields and values. Links in answers have no signatures.`

// errorTexts describe the statuses of problem details.
var errorTexts = map[string]string{
	"400": "The body is missing or invalid",
	"401": "The token is missing or wrong",
	"403": "A viewer may not do this, the process is read-only, a page of another origin sent this, or the Host header is unknown (KLINGHOOK_ADMIN_HOSTS)",
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

// describe corrects huma's description: lists are never null here, and errors have texts,
// headers, and the fields that they always have.
func describe(description *huma.OpenAPI) {
	for _, schema := range description.Components.Schemas.Map() {
		for _, property := range schema.Properties {
			property.Nullable = property.Nullable && property.Type != huma.TypeArray
		}
		if metadata := schema.Properties["metadata"]; metadata != nil && metadata.Type == "" {
			metadata.Type, metadata.AdditionalProperties = huma.TypeObject, true
		}
	}
	problem := description.Components.Schemas.Map()["ErrorModel"]
	problem.Required = []string{"title", "status", "detail"}
	for name, example := range map[string]any{"title": "Not Found", "status": 404, "detail": "there is no such job"} {
		problem.Properties[name].Examples = []any{example}
	}
	problem.Properties["instance"].Examples, problem.Properties["type"].Examples = nil, nil
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
				switch status {
				case "401":
					answer.Headers = headers("WWW-Authenticate")
				case "503":
					answer.Headers = headers("Retry-After")
				}
			}
		}
	}
}

// headers describes the headers of an answer.
func headers(names ...string) map[string]*huma.Param {
	described := make(map[string]*huma.Param, len(names))
	for _, name := range names {
		described[name] = &huma.Param{Schema: &huma.Schema{Type: huma.TypeString}}
	}
	return described
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
