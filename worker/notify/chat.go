package notify

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"mime"
	"net/url"
	"slices"
	"strings"
	"sync"
	"text/template"
	"time"

	"github.com/nicholas-fedor/shoutrrr/pkg/types"

	"github.com/klinghook/klinghook/tasks"
)

const (
	// maxSends is how many sends to one chat destination may run at once.
	maxSends = 4
	// forgetAfter is when a send that never returns releases its place. It limits how fast
	// such sends pile up, and how long a recovered destination waits for them.
	forgetAfter = 10 * time.Minute
	// maxMessage limits a message in bytes, unless the service has its own limit.
	maxMessage = 3500
)

// chat sends texts to one shoutrrr service.
type chat struct {
	service string
	url     string
	// template makes the text; nil for the default text.
	template *template.Template
	// titled reports that the URL sets a title, which is kept.
	titled bool
	scrub  func(string) string
	open   func(rawURL string) (sender, error)
	// places has maxSends places, each with an idle sender or nil. Senders are reused,
	// because some keep connections, but not concurrently.
	places chan sender
}

// sender sends one text. It may ignore the context.
type sender interface {
	send(ctx context.Context, text string, params types.Params) error
}

func newChat(rawURL string) (*chat, error) {
	u, err := url.Parse(rawURL)
	if err != nil {
		return nil, errors.New("cannot be read as a URL; write it as service://…, special characters percent-encoded")
	}
	service, _, _ := strings.Cut(u.Scheme, "+")
	known, ok := services[service]
	if !ok {
		// Do not show the unknown service: it may be part of a token.
		names := strings.Join(slices.Sorted(maps.Keys(services)), ", ")
		return nil, fmt.Errorf("has an unknown service; write it as service://…, with one of %s", names)
	}
	if known.refused != "" {
		return nil, fmt.Errorf("shoutrrr's %s %s", service, known.refused)
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return nil, errors.New("has a query that cannot be read; write it as ?key=value&key=value, special characters percent-encoded")
	}
	c := &chat{
		service: service,
		url:     rawURL,
		titled:  query.Has("title") || query.Has("subject"),
		scrub:   newScrubber(u, service),
		open:    openService,
		places:  make(chan sender, maxSends),
	}
	if err := c.check(); err != nil {
		return nil, err
	}
	for range maxSends {
		c.places <- nil
	}
	return c, nil
}

// check lets shoutrrr check the URL.
func (c *chat) check() (err error) {
	defer c.recovered(&err)
	if _, err := openService(c.url); err != nil {
		return fmt.Errorf("is not a %s URL that can be used: %s; see shoutrrr's documentation for the form", c.service, c.scrub(err.Error()))
	}
	return nil
}

// close does nothing: shoutrrr does not expose its connections.
func (c *chat) close() {}

// send waits until the context ends. A send that takes longer goes on in the
// background and may still arrive.
func (c *chat) send(ctx context.Context, message Message) (Response, error) {
	var s sender
	select {
	case s = <-c.places:
	case <-ctx.Done():
		return Response{}, fmt.Errorf("%d earlier sends have no answer yet: %w", maxSends, ctx.Err())
	}
	var once sync.Once
	free := func(idle sender) { once.Do(func() { c.places <- idle }) }
	text, params := c.compose(message)
	done := make(chan error, 1)
	go func() {
		idle, err := c.run(ctx, s, text, params)
		free(idle)
		done <- err
	}()
	select {
	case err := <-done:
		return Response{}, err
	case <-ctx.Done():
		time.AfterFunc(forgetAfter, func() { free(nil) })
		return Response{}, fmt.Errorf("no answer: %w", ctx.Err())
	}
}

// run sends with the sender, or with a new one if it is nil, and returns the sender
// if it can be used again.
func (c *chat) run(ctx context.Context, s sender, text string, params types.Params) (idle sender, err error) {
	defer c.recovered(&err)
	if s == nil {
		if s, err = c.open(c.url); err != nil {
			return nil, errors.New(c.scrub(err.Error()))
		}
	}
	err = s.send(ctx, text, params)
	if err == nil {
		return s, nil
	}
	var short refusal
	if errors.As(err, &short) {
		err = short
	}
	// The error is not wrapped: its chain contains the URL.
	scrubbed := errors.New(c.scrub(err.Error()))
	if wait := tasks.RetryAfterOf(err); wait > 0 {
		scrubbed = tasks.RetryAfter(scrubbed, wait)
	}
	return s, scrubbed
}

// recovered turns a panic in shoutrrr into an error, so that it does not end the
// worker.
func (c *chat) recovered(err *error) {
	if cause := recover(); cause != nil {
		*err = fmt.Errorf("shoutrrr's %s service panicked: %s", c.service, c.scrub(fmt.Sprint(cause)))
	}
}

// compose returns the text and the parameters that make the service show it plainly,
// in one piece.
func (c *chat) compose(message Message) (string, types.Params) {
	heading, details := title(message), strings.Join(lines(message), "\n")
	text := heading + "\n" + details
	if c.template != nil && message.Title == "" {
		// After an error or an empty text, the default text is used.
		if made, err := render(c.template, message); err == nil && made != "" {
			text, details = made, made
		}
	}
	params := types.Params{}
	if c.service == "discord" {
		// shoutrrr garbles texts of more than ten lines if it sends each line separately.
		params["splitlines"] = "No"
	}
	switch {
	case c.titled:
	case c.service == "smtp":
		params["subject"] = mime.QEncoding.Encode("utf-8", heading)
		text = details
	case services[c.service].title:
		params[types.TitleKey] = heading
		text = details
	}
	return shorten(text, cmp.Or(services[c.service].limit, maxMessage)), params
}

// shorten keeps the first bytes of a text.
func shorten(text string, limit int) string {
	if len(text) <= limit {
		return text
	}
	return strings.ToValidUTF8(text[:limit], "") + "…"
}
