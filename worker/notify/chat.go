package notify

import (
	"context"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/nicholas-fedor/shoutrrr/pkg/router"
	"github.com/nicholas-fedor/shoutrrr/pkg/services/chat/discord"
	"github.com/nicholas-fedor/shoutrrr/pkg/types"
)

// maxSends is how many sends to one chat destination may be under way. shoutrrr
// takes no context and some of its services wait for an answer without end, so
// this also bounds what a server that never answers can hold.
const maxSends = 4

// maxMessage bounds a whole text in bytes, below what Telegram takes.
const maxMessage = 3500

// chat sends texts to one shoutrrr service.
type chat struct {
	service string
	url     string
	// titled says that the URL sets a title of its own, which stays.
	titled bool
	scrub  func(string) string
	// open makes a sender; it may log in and so use the network.
	open func(rawURL string) (types.Sender, error)
	// idle holds maxSends places, each with a sender or with nil for one still to
	// be made. shoutrrr's senders keep state while they send: each has one user at
	// a time.
	idle chan types.Sender
}

func newChat(rawURL string) (*chat, error) {
	u, err := url.Parse(rawURL)
	if err != nil {
		return nil, errors.New("cannot be read as a URL; write it as service://…, special characters percent-encoded")
	}
	service, _, _ := strings.Cut(u.Scheme, "+")
	services := (&router.ServiceRouter{}).ListServices()
	slices.Sort(services)
	if !slices.Contains(services, service) {
		// What stands where a service belongs may be part of a token: not repeated.
		return nil, fmt.Errorf("begins with no known service; write it as service://…, the service one of %s", strings.Join(services, ", "))
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
		idle:    make(chan types.Sender, maxSends),
	}
	if err := c.check(u); err != nil {
		return nil, err
	}
	for range maxSends {
		c.idle <- nil
	}
	return c, nil
}

// check makes a sender and drops it, to have shoutrrr judge the URL.
func (c *chat) check(u *url.URL) (err error) {
	defer c.recovered(&err)
	checked := *u
	if c.service == "matrix" {
		// With a user name, making the sender would log in.
		password, _ := u.User.Password()
		checked.User = url.UserPassword("", password)
	}
	if _, err := openService(checked.String()); err != nil {
		return fmt.Errorf("is not a %s URL that shoutrrr accepts: %s; see its documentation for the form", c.service, c.scrub(err.Error()))
	}
	return nil
}

// openService makes a sender as shoutrrr's own router does, whose errors however
// leave out what is wrong with the URL.
func openService(rawURL string) (types.Sender, error) {
	u, err := url.Parse(rawURL)
	if err != nil {
		return nil, err
	}
	name, _, custom := strings.Cut(u.Scheme, "+")
	service, err := (&router.ServiceRouter{}).NewService(name)
	if err != nil {
		return nil, err
	}
	if custom {
		converter, ok := service.(types.CustomURLService)
		if !ok {
			return nil, fmt.Errorf("%s takes no %s+… form", name, name)
		}
		if u, err = converter.GetConfigURLFromCustom(u); err != nil {
			return nil, err
		}
	}
	if err := service.Initialize(u, nil); err != nil {
		return nil, err
	}
	return service, nil
}

// close does nothing: shoutrrr's connections cannot be reached.
func (c *chat) close() {}

// send waits no longer than ctx. A send that outlives it goes on in the
// background, keeps its place until the service gives up, and may still arrive.
func (c *chat) send(ctx context.Context, m Message) error {
	var sender types.Sender
	select {
	case sender = <-c.idle:
	case <-ctx.Done():
		return fmt.Errorf("%d earlier sends have no answer yet: %w", maxSends, ctx.Err())
	}
	text, params := c.compose(m)
	done := make(chan error, 1)
	go func() { done <- c.run(ctx, sender, text, params) }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return fmt.Errorf("no answer: %w", ctx.Err())
	}
}

// run sends with the sender, made first if it is nil, and gives its place back.
func (c *chat) run(ctx context.Context, sender types.Sender, text string, params types.Params) (err error) {
	var keep types.Sender
	defer func() { c.idle <- keep }()
	defer c.recovered(&err)
	if sender == nil {
		if sender, err = c.open(c.url); err != nil {
			return errors.New(c.scrub(err.Error()))
		}
	}
	if service, ok := sender.(*discord.Service); ok {
		// It retries by itself for minutes; bound to ctx, it stops when we do.
		service.HTTPClient = boundClient{ctx}
		service.Sleeper = boundSleeper{ctx}
	}
	err = sender.Send(text, &params)
	if err == nil {
		keep = sender
		return nil
	}
	if c.service != "matrix" { // whose login may have expired
		keep = sender
	}
	// The error is not wrapped: its chain holds the URL.
	return errors.New(c.scrub(err.Error()))
}

// recovered turns a panic in a service's code into an error of this destination,
// so that one bad answer does not end the worker.
func (c *chat) recovered(err *error) {
	if cause := recover(); cause != nil {
		*err = fmt.Errorf("shoutrrr's %s service panicked: %s", c.service, c.scrub(fmt.Sprint(cause)))
	}
}

// compose returns the text and the parameters that the service needs to show it
// as it is.
func (c *chat) compose(m Message) (string, types.Params) {
	heading, details := title(m), strings.Join(lines(m), "\n")
	params := types.Params{}
	if c.service == "telegram" {
		// The text is plain: in another mode Telegram refuses a lone "_".
		params["parsemode"] = "None"
	}
	switch {
	case c.titled:
	case c.service == "smtp":
		params["subject"] = mime.QEncoding.Encode("utf-8", heading)
		return shorten(details), params
	case slices.Contains([]string{"bark", "gotify", "join", "ntfy", "pushbullet", "pushover"}, c.service):
		params[types.TitleKey] = heading
		return shorten(details), params
	}
	return shorten(heading + "\n" + details), params
}

// shorten keeps the first maxMessage bytes.
func shorten(text string) string {
	if len(text) <= maxMessage {
		return text
	}
	return strings.ToValidUTF8(text[:maxMessage], "") + "…"
}

// boundClient and boundSleeper hold a context because shoutrrr's interfaces have
// no place for one; they live as long as one send.
type boundClient struct{ ctx context.Context }

func (c boundClient) Do(req *http.Request) (*http.Response, error) {
	return http.DefaultClient.Do(req.WithContext(c.ctx))
}

type boundSleeper struct{ ctx context.Context }

func (s boundSleeper) Sleep(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-s.ctx.Done():
	}
}
