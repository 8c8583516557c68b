package dashboard

import (
	"cmp"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"
)

// apiGroup is the operations with one tag, for the page that describes the API.
type apiGroup struct {
	Name, Description string
	Operations        []apiOperation
}

// apiOperation is an operation of the API.
type apiOperation struct {
	ID, Method, Path, Summary, Description string
	Parameters, Body                       []apiField
	Answers                                []apiAnswer
}

// apiField is a parameter, or a field of a JSON object.
type apiField struct {
	Name, In, Type, Description string
	Required                    bool
}

// apiAnswer is an answer of an operation.
type apiAnswer struct {
	Status, Description string
	Fields              []apiField
}

// docsPage returns the page that describes the API. It loads nothing from other hosts.
func (d *dashboard) docsPage(description *huma.OpenAPI) http.HandlerFunc {
	type data struct {
		Paragraphs []string
		Root       string
		Groups     []apiGroup
	}
	shown := data{strings.Split(description.Info.Description, "\n\n"), d.cfg.Prefix + APIPath, apiGroups(description)}
	return func(w http.ResponseWriter, r *http.Request) {
		d.show(w, r, view{Name: "api", Title: "API", Data: shown})
	}
}

// apiGroups returns the operations by tag, in the order of the description's tags.
func apiGroups(description *huma.OpenAPI) []apiGroup {
	groups := make([]apiGroup, len(description.Tags))
	for i, tag := range description.Tags {
		groups[i] = apiGroup{Name: tag.Name, Description: tag.Description}
		for _, path := range slices.Sorted(maps.Keys(description.Paths)) {
			item := description.Paths[path]
			for _, op := range []*huma.Operation{item.Get, item.Put, item.Post, item.Delete} {
				if op != nil && slices.Contains(op.Tags, tag.Name) {
					groups[i].Operations = append(groups[i].Operations, newAPIOperation(description, path, op))
				}
			}
		}
	}
	return groups
}

func newAPIOperation(description *huma.OpenAPI, path string, op *huma.Operation) apiOperation {
	shown := apiOperation{ID: op.OperationID, Method: op.Method, Path: path, Summary: op.Summary, Description: op.Description}
	for _, param := range op.Parameters {
		shown.Parameters = append(shown.Parameters, apiField{param.Name, param.In, typeText(param.Schema), param.Description, param.Required})
	}
	if op.RequestBody != nil {
		shown.Body = apiFields(description, op.RequestBody.Content)
	}
	for _, status := range slices.Sorted(maps.Keys(op.Responses)) {
		if status >= "4" || status == "default" { // problems, all alike
			continue
		}
		answer := op.Responses[status]
		shown.Answers = append(shown.Answers, apiAnswer{status, answer.Description, apiFields(description, answer.Content)})
	}
	return shown
}

// apiFields returns the fields of an object in JSON.
func apiFields(description *huma.OpenAPI, content map[string]*huma.MediaType) []apiField {
	if content["application/json"] == nil {
		return nil
	}
	schema := content["application/json"].Schema
	if schema.Ref != "" {
		schema = description.Components.Schemas.SchemaFromRef(schema.Ref)
	}
	var fields []apiField
	for _, name := range slices.Sorted(maps.Keys(schema.Properties)) {
		property := schema.Properties[name]
		fields = append(fields, apiField{name, "", typeText(property), property.Description, slices.Contains(schema.Required, name)})
	}
	return fields
}

// typeText returns the type of a value for people, with its limits and default.
func typeText(schema *huma.Schema) string {
	text := typeName(schema)
	switch {
	case schema == nil:
		return ""
	case schema.Nullable:
		text += " or null"
	case schema.Minimum != nil && schema.Maximum != nil:
		text += fmt.Sprintf(", %v to %v", *schema.Minimum, *schema.Maximum)
	case schema.MaxItems != nil:
		text += fmt.Sprintf(", at most %d", *schema.MaxItems)
	}
	if schema.Default != nil {
		text += fmt.Sprintf("; default %v", schema.Default)
	}
	return text
}

func typeName(schema *huma.Schema) string {
	switch {
	case schema == nil:
		return ""
	case schema.Ref != "":
		return schema.Ref[strings.LastIndex(schema.Ref, "/")+1:]
	case len(schema.Enum) > 0:
		words := make([]string, len(schema.Enum))
		for i, value := range schema.Enum {
			words[i], _ = value.(string)
		}
		return strings.Join(words, " | ")
	case schema.Items != nil:
		return "list of " + typeName(schema.Items)
	}
	return cmp.Or(schema.Format, schema.Type, "any")
}
