package notify

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"text/template"
	"time"

	"github.com/klinghook/klinghook/tasks"
)

const defaultTimeout = 15 * time.Second

// Config lists the destinations. The zero Config is valid and has none.
type Config struct {
	// ChatURLs are shoutrrr service URLs, such as slack://… or smtp://….
	ChatURLs []string
	// ForwardURLs are the http or https URLs that receive signed JSON.
	ForwardURLs []string
	// ForwardSecret signs forwards: "whsec_" and base64. Required with ForwardURLs.
	ForwardSecret string
	// Named are further destinations.
	Named []Destination
	// Events are the types of events that are sent. Default all.
	Events []string
	// Text is a template of [text/template] for the messages of chat services, executed
	// with a [Text]. Default: Title and Details.
	Text string
	// Timeout limits one send. Default 15 s.
	Timeout time.Duration
	// Rate limits the messages per second to each destination. Default no limit.
	Rate float64
}

// Destination is a named destination.
type Destination struct {
	// Name identifies it even if its URL changes. It must be safe in a task id.
	Name string
	// URL is an http or https URL, or that of a chat service with one recipient.
	URL string
	// Secret signs forwards.
	Secret string
	// Events and Rate replace those of the Config if they are set.
	Events []string
	Rate   float64
}

// Notifier sends messages to its destinations. It is safe for concurrent use.
type Notifier struct {
	timeout time.Duration
	names   []string
	outlets map[string]outlet
}

// outlet is a destination with its limits.
type outlet struct {
	destination
	events []string // empty: all
	turns  *turns   // nil without a rate
}

type destination interface {
	send(ctx context.Context, message Message) (Response, error)
	// close closes idle connections.
	close()
}

// Response is how a forward's endpoint answered.
type Response struct {
	// Status is the HTTP status; 0 if there was no answer, and for chat.
	Status int
	// Body is at most the first KiB.
	Body string
}

// New checks every URL without using the network. Its error names each bad URL by
// its position, from 1, or by its name, and says how to fix it. Repeated URLs without a
// name are one destination.
func New(cfg Config) (*Notifier, error) {
	notifier := &Notifier{timeout: cfg.Timeout, outlets: map[string]outlet{}}
	if notifier.timeout <= 0 {
		notifier.timeout = defaultTimeout
	}
	var problems []error
	var text *template.Template
	if cfg.Text != "" {
		var err error
		if text, err = parseText(cfg.Text); err != nil {
			problems = append(problems, fmt.Errorf("text %w", err))
		}
	}
	for i, rawURL := range cfg.ChatURLs {
		for _, rawURL := range recipients(strings.TrimSpace(rawURL)) {
			chat, err := newChat(rawURL)
			if err != nil {
				problems = append(problems, fmt.Errorf("notify URL %d: %w", i+1, err))
				break
			}
			chat.template = text
			notifier.add(hashed(chat.service, rawURL), chat, cfg.Events, cfg.Rate)
		}
	}
	if len(cfg.ForwardURLs) > 0 {
		signer, err := newSigner(cfg.ForwardSecret)
		if err != nil {
			problems = append(problems, fmt.Errorf("forward secret: %w", err))
		}
		for i, rawURL := range cfg.ForwardURLs {
			rawURL = strings.TrimSpace(rawURL)
			f, err := newForward(rawURL, signer)
			if err != nil {
				problems = append(problems, fmt.Errorf("forward URL %d: %w", i+1, err))
				continue
			}
			notifier.add(hashed("forward-"+tasks.SafeID(f.host), rawURL), f, cfg.Events, cfg.Rate)
		}
	}
	for _, named := range cfg.Named {
		d, err := named.open()
		if _, used := notifier.outlets[named.Name]; used {
			err = errors.New("another destination has this name")
		}
		if err != nil {
			problems = append(problems, fmt.Errorf("destination %s: %w", named.Name, err))
			continue
		}
		if service, ok := d.(*chat); ok {
			service.template = text
		}
		events := cfg.Events
		if len(named.Events) > 0 {
			events = named.Events
		}
		notifier.add(named.Name, d, events, cmp.Or(named.Rate, cfg.Rate))
	}
	if len(problems) > 0 {
		return nil, errors.Join(problems...)
	}
	return notifier, nil
}

// open makes the destination of a named one.
func (d Destination) open() (destination, error) {
	if scheme, _, _ := strings.Cut(strings.ToLower(d.URL), "://"); scheme != "http" && scheme != "https" {
		if err := CheckOneRecipient(d.URL); err != nil {
			return nil, err
		}
		return newChat(d.URL)
	}
	signer, err := newSigner(d.Secret)
	if err != nil {
		return nil, fmt.Errorf("secret: %w", err)
	}
	return newForward(d.URL, signer)
}

// CheckOneRecipient is like [CheckChatURL] for a named destination: a URL with several
// recipients is an error, because each recipient is a destination.
func CheckOneRecipient(rawURL string) error {
	if err := CheckChatURL(rawURL); err != nil {
		return err
	}
	if n := len(recipients(rawURL)); n > 1 {
		return fmt.Errorf("has %d recipients; write one destination for each", n)
	}
	return nil
}

// CheckChatURL returns an error if a shoutrrr URL cannot be used, without showing the URL.
// It does not use the network.
func CheckChatURL(rawURL string) error {
	_, err := newChat(strings.TrimSpace(rawURL))
	return err
}

// hashed returns the name of a destination without one. The hash tells URLs of one
// service apart without showing them.
func hashed(prefix, rawURL string) string {
	sum := sha256.Sum256([]byte(rawURL))
	return prefix + "-" + hex.EncodeToString(sum[:4])
}

// add adds a destination, unless the name is in use.
func (n *Notifier) add(name string, d destination, events []string, rate float64) {
	if _, repeated := n.outlets[name]; repeated {
		return
	}
	added := outlet{destination: d, events: events}
	if rate > 0 {
		added.turns = newTurns(rate)
	}
	n.names, n.outlets[name] = append(n.names, name), added
}

// Names returns the names of the destinations in the order of the Config, chat
// first. Unless the Config names it, a destination's name depends only on its URL, shows
// no secret and can be part of a task id: "slack-1a2b3c4d", "forward-example.com-1a2b3c4d".
func (n *Notifier) Names() []string { return slices.Clone(n.names) }

// Has reports whether there is a destination of this name.
func (n *Notifier) Has(name string) bool { _, ok := n.outlets[name]; return ok }

// NamesFor returns the names of the destinations that receive a type of event.
func (n *Notifier) NamesFor(eventType string) []string {
	return slices.DeleteFunc(n.Names(), func(name string) bool {
		events := n.outlets[name].events
		return len(events) > 0 && !slices.Contains(events, eventType)
	})
}

// Turn takes a turn at a destination: 0 means that a message may be sent now. Otherwise it
// returns how long to wait before asking again.
func (n *Notifier) Turn(name string) time.Duration {
	if t := n.outlets[name].turns; t != nil {
		return t.take(time.Now())
	}
	return 0
}

// Send sends to one destination, within the Config's Timeout. A name that is no
// longer configured is a permanent error. Errors show no secret; they may be
// tasks.Permanent or tasks.RetryAfter.
func (n *Notifier) Send(ctx context.Context, name string, message Message) (Response, error) {
	outlet, ok := n.outlets[name]
	if !ok {
		return Response{}, tasks.Permanent(fmt.Errorf("notify %s: this destination is no longer configured", name))
	}
	ctx, cancel := context.WithTimeout(ctx, n.timeout)
	defer cancel()
	answer, err := outlet.send(ctx, message)
	if err != nil {
		return answer, fmt.Errorf("notify %s: %w", name, err)
	}
	return answer, nil
}

// Close closes idle connections. It does not wait for sends.
func (n *Notifier) Close() {
	for _, outlet := range n.outlets {
		outlet.close()
	}
}
