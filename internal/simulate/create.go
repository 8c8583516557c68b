package simulate

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"unicode/utf8"
)

// The limits and defaults of a job's creation.
const (
	maxPrompt      = 3072 // runes
	maxExternalID  = 256  // bytes
	minSeconds     = 3
	maxSeconds     = 15
	defaultSeconds = "5"
	defaultModel   = "kling-v1"
)

// loose is a string that may be a number in JSON.
type loose string

// UnmarshalJSON reads strings and numbers.
func (l *loose) UnmarshalJSON(raw []byte) error {
	var text string
	if json.Unmarshal(raw, &text) == nil {
		*l = loose(text)
		return nil
	}
	var number json.Number
	err := json.Unmarshal(raw, &number)
	*l = loose(number)
	return err
}

// createLegacy is POST /v1/videos/{kind}.
func (s *Simulator) createLegacy(r *http.Request, kind string) (answer, *fault) {
	var asked struct {
		ModelName      string `json:"model_name"`
		Prompt         string `json:"prompt"`
		Duration       loose  `json:"duration"`
		CallbackURL    string `json:"callback_url"`
		ExternalTaskID string `json:"external_task_id"`
	}
	if refused := decode(r, &asked); refused != nil {
		return answer{}, refused
	}
	job, refused := s.create(order{
		form: legacyForm, kind: kind, model: asked.ModelName, prompt: asked.Prompt,
		callbackURL: asked.CallbackURL, externalID: asked.ExternalTaskID, base: baseOf(r),
	}, string(asked.Duration))
	if refused != nil {
		return answer{}, refused
	}
	return answer{data: s.update(job, job.life[0], byLookup, job.life[0].at).legacyReceipt(), numbers: job.fate.drift.numbers}, nil
}

// createNew is POST /{kind}/{model}.
func (s *Simulator) createNew(r *http.Request, kind string) (answer, *fault) {
	var asked struct {
		Prompt   string `json:"prompt"`
		Contents []struct {
			Type string `json:"type"`
			Text string `json:"text"`
		} `json:"contents"`
		Settings struct {
			Duration loose `json:"duration"`
		} `json:"settings"`
		Options struct {
			CallbackURL    string `json:"callback_url"`
			ExternalTaskID string `json:"external_task_id"`
		} `json:"options"`
	}
	if refused := decode(r, &asked); refused != nil {
		return answer{}, refused
	}
	prompt := asked.Prompt
	for _, content := range asked.Contents {
		if content.Type == "prompt" && prompt == "" {
			prompt = content.Text
		}
	}
	job, refused := s.create(order{
		form: newForm, kind: kind, model: r.PathValue("model"), prompt: prompt,
		callbackURL: asked.Options.CallbackURL, externalID: asked.Options.ExternalTaskID, base: baseOf(r),
	}, string(asked.Settings.Duration))
	if refused != nil {
		return answer{}, refused
	}
	return answer{data: s.update(job, job.life[0], byLookup, job.life[0].at).officialReceipt(), numbers: job.fate.drift.numbers}, nil
}

// create checks an order, fills in its defaults, and adds the job.
func (s *Simulator) create(o order, seconds string) (*job, *fault) {
	setDefault(&o.model, defaultModel)
	setDefault(&seconds, defaultSeconds)
	var err error
	o.seconds, err = strconv.Atoi(seconds)
	switch {
	case o.prompt == "" && strings.HasPrefix(o.kind, "text"):
		return nil, codeParameterValue.fault("prompt is empty")
	case utf8.RuneCountInString(o.prompt) > maxPrompt:
		return nil, codeParameterValue.fault(fmt.Sprintf("prompt is longer than %d characters", maxPrompt))
	case err != nil || o.seconds < minSeconds || o.seconds > maxSeconds:
		return nil, codeParameterValue.fault(fmt.Sprintf("duration must be between %d and %d seconds", minSeconds, maxSeconds))
	case !strings.HasPrefix(o.model, "kling-"):
		return nil, codeNotFound.fault("there is no such model; names begin with kling-")
	case len(o.externalID) > maxExternalID || strings.ContainsAny(o.externalID, ",/"):
		return nil, codeParameterValue.fault("external_task_id is too long, or has a comma or a slash")
	case o.callbackURL != "" && !isHTTP(o.callbackURL):
		return nil, codeParameterValue.fault("callback_url must be an http:// or https:// URL")
	}
	if refused := askedFault(o.prompt); refused != nil {
		return nil, refused
	}
	return s.add(o)
}

func isHTTP(target string) bool {
	u, err := url.Parse(target)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Hostname() != ""
}

// baseOf returns the URL at which the client reached this simulator.
func baseOf(r *http.Request) string {
	if r.TLS != nil {
		return "https://" + r.Host
	}
	return "http://" + r.Host
}
