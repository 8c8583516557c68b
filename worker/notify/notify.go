package notify

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/klinghook/klinghook/tasks"
)

const defaultTimeout = 15 * time.Second

// Config says whom to tell. The zero Config is valid and tells nobody.
type Config struct {
	// ChatURLs are shoutrrr service URLs, such as slack://… or smtp://….
	ChatURLs []string
	// ForwardURLs are absolute http or https URLs that are sent signed JSON.
	ForwardURLs []string
	// ForwardSecret signs forwards: "whsec_" and base64, as Standard Webhooks has
	// it. Required when ForwardURLs is not empty.
	ForwardSecret string
	// Timeout bounds one send from start to answer. Default 15 s.
	Timeout time.Duration
	// Rate is how many messages a second [Notifier.Turn] lets each destination have.
	// Default no limit.
	Rate float64
}

// Notifier sends messages to its destinations. It is safe for concurrent use.
type Notifier struct {
	timeout      time.Duration
	names        []string
	destinations map[string]destination
	// paces are empty without a rate.
	paces map[string]*pace
}

// destination is one place to tell. close lets go of what is kept between sends.
type destination interface {
	send(ctx context.Context, m Message) error
	close()
}

// New checks every URL without using the network. Its error names each one that
// cannot be used by its position, counted from 1, and how to mend it. URLs that
// are given twice are one destination.
func New(cfg Config) (*Notifier, error) {
	n := &Notifier{timeout: cfg.Timeout, destinations: map[string]destination{}}
	if n.timeout <= 0 {
		n.timeout = defaultTimeout
	}
	var problems []error
	for i, rawURL := range cfg.ChatURLs {
		rawURL = strings.TrimSpace(rawURL)
		c, err := newChat(rawURL)
		if err != nil {
			problems = append(problems, fmt.Errorf("notify URL %d: %w", i+1, err))
			continue
		}
		n.add(c.service+"-"+fingerprint(rawURL), c)
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
			n.add("forward-"+tasks.SafeID(f.host)+"-"+fingerprint(rawURL), f)
		}
	}
	if len(problems) > 0 {
		return nil, errors.Join(problems...)
	}
	if cfg.Rate > 0 {
		n.paces = map[string]*pace{}
		for _, name := range n.names {
			n.paces[name] = newPace(cfg.Rate)
		}
	}
	return n, nil
}

// CheckChatURL returns what keeps a shoutrrr URL from being used, worded without
// what it holds. It uses no network.
func CheckChatURL(rawURL string) error {
	_, err := newChat(strings.TrimSpace(rawURL))
	return err
}

func (n *Notifier) add(name string, d destination) {
	if _, twice := n.destinations[name]; twice {
		return
	}
	n.names = append(n.names, name)
	n.destinations[name] = d
}

// fingerprint tells destinations of the same service apart without telling what
// their URLs hold.
func fingerprint(rawURL string) string {
	sum := sha256.Sum256([]byte(rawURL))
	return hex.EncodeToString(sum[:4])
}

// Names returns the names of the destinations in the order of the Config, chat
// first. A name stays the same as long as its URL does, reveals no secret, and
// can stand in a task id: "slack-1a2b3c4d", "forward-example.com-1a2b3c4d".
func (n *Notifier) Names() []string {
	return append([]string(nil), n.names...)
}

// Turn takes a destination's turn: zero means that a message may be sent to it now.
// Else it returns after how long to come for a turn again; who comes at the times
// that it gave finds one, as long as nobody comes in between.
func (n *Notifier) Turn(name string) time.Duration {
	p, ok := n.paces[name]
	if !ok {
		return 0
	}
	return p.turn(time.Now())
}

// Send tells one destination, within the Config's Timeout. A name that is not
// configured, as after a destination was removed while messages for it waited, is
// a permanent error. Errors hold no secret; they may be tasks.Permanent or carry a
// tasks.RetryAfter.
func (n *Notifier) Send(ctx context.Context, name string, m Message) error {
	d, ok := n.destinations[name]
	if !ok {
		return tasks.Permanent(fmt.Errorf("notify %s: this destination is no longer configured", name))
	}
	ctx, cancel := context.WithTimeout(ctx, n.timeout)
	defer cancel()
	if err := d.send(ctx, m); err != nil {
		return fmt.Errorf("notify %s: %w", name, err)
	}
	return nil
}

// Close closes the connections that are kept open between sends. It waits for no
// send and does not make later ones fail.
func (n *Notifier) Close() {
	for _, d := range n.destinations {
		d.close()
	}
}
