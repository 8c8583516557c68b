package simulate

import (
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"
)

// maxWebhooks bounds the webhooks that are registered at once.
const maxWebhooks = 20

// webhook is a registration, as it is listed. Only the answer to its making has
// the secret.
type webhook struct {
	ID        string   `json:"id"`
	URL       string   `json:"url"`
	Events    []string `json:"events"`
	Active    bool     `json:"active"`
	CreatedAt string   `json:"created_at"`
	Secret    string   `json:"secret,omitempty"`

	number uint64
}

// webhooks are the registrations there are.
type webhooks struct {
	mu   sync.Mutex // guards what follows
	list []webhook
	made uint64
}

func newWebhooks() *webhooks { return &webhooks{list: []webhook{}} }

// events are those of the seed protocol.
func events() []string {
	var all []string
	for _, s := range []status{submitted, processing, succeeded, failed, cancelled} {
		all = append(all, seedEvent(s))
	}
	return all
}

// registerWebhook is POST /v1/webhooks. The webhook gets the events of jobs that
// are created from then on.
func (s *Simulator) registerWebhook(r *http.Request) (answer, *fault) {
	asked := webhook{Active: true}
	if refused := decode(r, &asked); refused != nil {
		return answer{}, refused
	}
	if refused := checkTarget("url", asked.URL); refused != nil {
		return answer{}, refused
	}
	for _, event := range asked.Events {
		if !slices.Contains(events(), event) {
			return answer{}, codeParameterValue.fault(fmt.Sprintf("events: there is no %q", event))
		}
	}
	if len(asked.Events) == 0 {
		asked.Events = events()
	}
	return s.webhooks.add(asked, time.Now())
}

func (w *webhooks) add(asked webhook, now time.Time) (answer, *fault) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.list) >= maxWebhooks {
		return answer{}, codeParameterValue.fault(fmt.Sprintf("there are %d webhooks already; remove one", maxWebhooks))
	}
	w.made++
	asked.number, asked.ID = w.made, fmt.Sprintf("wh_%d", w.made)
	asked.Secret, asked.CreatedAt = newSecret(), now.UTC().Format(time.RFC3339)
	w.list = append(w.list, asked)
	return answer{status: http.StatusCreated, data: asked, bare: true}, nil
}

// listWebhooks is GET /v1/webhooks.
func (s *Simulator) listWebhooks(*http.Request) (answer, *fault) {
	s.webhooks.mu.Lock()
	defer s.webhooks.mu.Unlock()
	list := slices.Clone(s.webhooks.list)
	for i := range list {
		list[i].Secret = ""
	}
	return answer{data: list}, nil
}

// removeWebhook is DELETE /v1/webhooks/{id}.
func (s *Simulator) removeWebhook(r *http.Request) (answer, *fault) {
	s.webhooks.mu.Lock()
	defer s.webhooks.mu.Unlock()
	at := slices.IndexFunc(s.webhooks.list, func(w webhook) bool { return w.ID == r.PathValue("id") })
	if at < 0 {
		return answer{}, codeNotFound.fault("there is no such webhook")
	}
	s.webhooks.list = slices.Delete(s.webhooks.list, at, at+1)
	return answer{data: map[string]any{}}, nil
}

// active returns the webhooks that want events.
func (w *webhooks) active(unsigned bool) []*receiver {
	w.mu.Lock()
	defer w.mu.Unlock()
	var receivers []*receiver
	for _, hook := range w.list {
		if !hook.Active {
			continue
		}
		r := &receiver{number: hook.number, url: hook.URL, protocol: Seed, sign: seedSigner(hook.Secret), events: hook.Events}
		if unsigned {
			r.sign = signNothing
		}
		receivers = append(receivers, r)
	}
	return receivers
}
