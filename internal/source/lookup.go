package source

import (
	"net/http"
	"time"

	"github.com/klinghook/klinghook/tasks"
)

// Lookup returns the Source of events with [tasks.SourceLookup]: klinghook made them
// itself, of what Kling answered when it was asked for a job, or of its own patience
// running out. Their bodies have the form of the official callbacks; a status "lost"
// stands for [tasks.TypeLost]. Nothing of them comes from outside, so Verify has
// nothing to check; no endpoint receives them.
func Lookup() Source { return lookup{} }

type lookup struct{ official official }

func (lookup) Verify(http.Header, []byte, time.Time) (string, error) { return "", nil }

func (l lookup) Identify(_ http.Header, body []byte) (Identity, error) {
	return l.official.Identify(http.Header{}, body)
}

func (l lookup) Update(ev tasks.Event) (*tasks.JobUpdate, error) {
	up, err := l.official.Update(ev)
	if err != nil || up != nil || ev.Type != tasks.TypeLost {
		return up, err
	}
	cb, err := parseCallback(ev.Body)
	if err != nil {
		return nil, tasks.Permanent(err)
	}
	return &tasks.JobUpdate{JobID: cb.jobID, EventID: ev.ID, OccurredAt: cb.body.time(cb.keys.updatedAt), Status: tasks.StatusLost}, nil
}

// CallbackName is the Source of events that came to an unsigned callback's URL.
const CallbackName = "klingai-unsigned"

// TypeCallback is the type of an event that an unsigned callback made, whatever the
// body says.
const TypeCallback = "callback"

// CallbackProtocol is how the callbacks of accounts without a webhook secret are
// received: at a URL that ends in a token, which is checked by whoever has the URL.
// It is not among [Protocols], for it has nothing to verify a body with.
func CallbackProtocol() Protocol {
	return Protocol{
		Name:          CallbackName,
		Path:          "/webhooks/klingai/t/:token",
		SecretSetting: "KLINGHOOK_CALLBACK_TOKEN",
		New:           func([]string) (Source, error) { return callbackSource{}, nil },
	}
}

// callbackSource believes nothing of a body but which job it is about, and in which
// of Kling's APIs that is found: all that follows from it is that Kling is asked.
type callbackSource struct{}

// Verify accepts everything, for everything is doubted.
func (callbackSource) Verify(http.Header, []byte, time.Time) (string, error) { return "", nil }

func (callbackSource) Identify(_ http.Header, body []byte) (Identity, error) {
	cb, err := parseCallback(body)
	if err != nil {
		return Identity{}, err
	}
	return Identity{Type: TypeCallback, JobID: cb.jobID}, nil
}

func (callbackSource) Update(ev tasks.Event) (*tasks.JobUpdate, error) {
	cb, err := parseCallback(ev.Body)
	if err != nil {
		return nil, tasks.Permanent(err)
	}
	return &tasks.JobUpdate{JobID: cb.jobID, EventID: ev.ID, Unproven: true, API: cb.api()}, nil
}

// api is where Kling keeps the job, as the form of its body tells.
func (cb callback) api() string {
	if cb.keys == legacyKeys() {
		return tasks.APILegacy
	}
	return tasks.APITasks
}
