package tasks

import "encoding/json"

// Metadata is what the program that submitted a job says about it: callbacks contain
// neither prompt nor model. A nil field changes nothing, and an empty one removes the
// earlier value.
type Metadata struct {
	// API is where Kling keeps the job, as in [JobUpdate]; empty if unknown. It applies
	// until a look-up finds the job elsewhere.
	API string `json:"api,omitempty"`
	// Source, Prompt, Model and ExternalID apply if the job's events have none.
	Source     *string `json:"source,omitempty"`
	Prompt     *string `json:"prompt,omitempty"`
	Model      *string `json:"model,omitempty"`
	ExternalID *string `json:"external_id,omitempty"`
	// Tags are sorted, without repeats.
	Tags []string `json:"tags,omitzero"`
	// ExpectedCost is what the job should cost; its kind is empty.
	ExpectedCost *Cost `json:"expected_cost,omitempty"`
	// Custom is a JSON object of the program's own, without white space.
	Custom json.RawMessage `json:"metadata,omitempty"`
}
