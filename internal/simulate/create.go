package simulate

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// The limits of what a job is created with.
const (
	maxPrompt     = 3072 // runes
	maxExternalID = 256  // bytes
	shortest      = 3    // seconds
	longest       = 15
	defaultModel  = "kling-v1"
	defaultLength = "5"
)

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
	j, refused := s.create(order{
		form: legacyForm, kind: kind, model: asked.ModelName, prompt: asked.Prompt,
		callbackURL: asked.CallbackURL, externalID: asked.ExternalTaskID, base: baseOf(r),
	}, string(asked.Duration))
	if refused != nil {
		return answer{}, refused
	}
	v := view{job: j, moment: j.moments[0]}
	return answer{data: v.drifted(v.legacyReceipt()), numbers: j.fate.drift.numbers}, nil
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
	j, refused := s.create(order{
		form: newForm, kind: kind, model: r.PathValue("model"), prompt: prompt,
		callbackURL: asked.Options.CallbackURL, externalID: asked.Options.ExternalTaskID, base: baseOf(r),
	}, string(asked.Settings.Duration))
	if refused != nil {
		return answer{}, refused
	}
	v := view{job: j, moment: j.moments[0]}
	return answer{data: v.drifted(v.officialReceipt()), numbers: j.fate.drift.numbers}, nil
}

// create checks and completes an order, and takes it.
func (s *Simulator) create(o order, length string) (*job, *fault) {
	if o.model == "" {
		o.model = defaultModel
	}
	if length == "" {
		length = defaultLength
	}
	seconds, err := strconv.Atoi(length)
	o.seconds = seconds
	switch {
	case o.prompt == "" && strings.HasPrefix(o.kind, "text"):
		return nil, codeParameterValue.fault("prompt is empty")
	case utf8.RuneCountInString(o.prompt) > maxPrompt:
		return nil, codeParameterValue.fault(fmt.Sprintf("prompt is longer than %d characters", maxPrompt))
	case err != nil || seconds < shortest || seconds > longest:
		return nil, codeParameterValue.fault(fmt.Sprintf("duration is not a number of seconds from %d to %d", shortest, longest))
	case !strings.HasPrefix(o.model, "kling-"):
		return nil, codeNotFound.fault("there is no such model; their names begin with kling-")
	case len(o.externalID) > maxExternalID || strings.ContainsAny(o.externalID, ",/"):
		return nil, codeParameterValue.fault("external_task_id is too long, or has a comma or a slash")
	}
	if o.callbackURL != "" {
		if refused := checkTarget("callback_url", o.callbackURL); refused != nil {
			return nil, refused
		}
	}
	if refused := askedFault(o.prompt); refused != nil {
		return nil, refused
	}
	return s.take(o)
}

// view is a job as a look-up tells of it, with links that live from now on.
func (s *Simulator) view(j *job, now time.Time) view {
	m := j.asOf(now)
	if m.status == succeeded {
		s.count.refreshed(j.fate.deadLink != 0 || now.After(j.end().at.Add(s.cfg.LinkTTL)))
	}
	return view{j, m, func(file string) string { return s.links.make(j, file, byLookup, now) }}
}
