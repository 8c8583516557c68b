package notify

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
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
	// Timeout limits one send. Default 15 s.
	Timeout time.Duration
	// Rate is the most messages a second per destination. Default no limit.
	Rate float64
}

// Notifier sends messages to its destinations. It is safe for concurrent use.
type Notifier struct {
	timeout      time.Duration
	names        []string
	destinations map[string]destination
	turns        map[string]*turns // empty without a rate
}

type destination interface {
	send(ctx context.Context, message Message) error
	// close closes idle connections.
	close()
}

// New checks every URL without using the network. Its error names each bad URL by
// its position, from 1, and says how to fix it. Repeated URLs are one destination.
func New(cfg Config) (*Notifier, error) {
	notifier := &Notifier{timeout: cfg.Timeout, destinations: map[string]destination{}, turns: map[string]*turns{}}
	if notifier.timeout <= 0 {
		notifier.timeout = defaultTimeout
	}
	var problems []error
	for i, rawURL := range cfg.ChatURLs {
		for _, rawURL := range recipients(strings.TrimSpace(rawURL)) {
			chat, err := newChat(rawURL)
			if err != nil {
				problems = append(problems, fmt.Errorf("notify URL %d: %w", i+1, err))
				break
			}
			notifier.add(chat.service, rawURL, chat, cfg.Rate)
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
			notifier.add("forward-"+tasks.SafeID(f.host), rawURL, f, cfg.Rate)
		}
	}
	if len(problems) > 0 {
		return nil, errors.Join(problems...)
	}
	return notifier, nil
}

// CheckChatURL returns an error if a shoutrrr URL cannot be used, without showing the URL.
// It does not use the network.
func CheckChatURL(rawURL string) error {
	_, err := newChat(strings.TrimSpace(rawURL))
	return err
}

// add adds a destination. The hash in its name tells URLs of one service apart without
// showing them.
func (n *Notifier) add(prefix, rawURL string, d destination, rate float64) {
	sum := sha256.Sum256([]byte(rawURL))
	name := prefix + "-" + hex.EncodeToString(sum[:4])
	if _, repeated := n.destinations[name]; repeated {
		return
	}
	n.names = append(n.names, name)
	n.destinations[name] = d
	if rate > 0 {
		n.turns[name] = newTurns(rate)
	}
}

// Names returns the names of the destinations in the order of the Config, chat
// first. A name depends only on its URL, shows no secret and can be part of a task
// id: "slack-1a2b3c4d", "forward-example.com-1a2b3c4d".
func (n *Notifier) Names() []string { return slices.Clone(n.names) }

// Turn takes a turn at a destination: 0 means that a message may be sent now. Otherwise it
// returns how long to wait before asking again.
func (n *Notifier) Turn(name string) time.Duration {
	if t, ok := n.turns[name]; ok {
		return t.take(time.Now())
	}
	return 0
}

// Send sends to one destination, within the Config's Timeout. A name that is no
// longer configured is a permanent error. Errors show no secret; they may be
// tasks.Permanent or tasks.RetryAfter.
func (n *Notifier) Send(ctx context.Context, name string, message Message) error {
	destination, ok := n.destinations[name]
	if !ok {
		return tasks.Permanent(fmt.Errorf("notify %s: this destination is no longer configured", name))
	}
	ctx, cancel := context.WithTimeout(ctx, n.timeout)
	defer cancel()
	if err := destination.send(ctx, message); err != nil {
		return fmt.Errorf("notify %s: %w", name, err)
	}
	return nil
}

// Close closes idle connections. It does not wait for sends.
func (n *Notifier) Close() {
	for _, destination := range n.destinations {
		destination.close()
	}
}
