package notify

import (
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/nicholas-fedor/shoutrrr/pkg/router"
	"github.com/nicholas-fedor/shoutrrr/pkg/services/chat/discord"
	"github.com/nicholas-fedor/shoutrrr/pkg/services/chat/lark"
	"github.com/nicholas-fedor/shoutrrr/pkg/services/chat/rocketchat"
	"github.com/nicholas-fedor/shoutrrr/pkg/services/chat/signal"
	"github.com/nicholas-fedor/shoutrrr/pkg/services/chat/slack"
	"github.com/nicholas-fedor/shoutrrr/pkg/services/chat/teams"
	"github.com/nicholas-fedor/shoutrrr/pkg/services/chat/telegram"
	"github.com/nicholas-fedor/shoutrrr/pkg/services/chat/wecom"
	"github.com/nicholas-fedor/shoutrrr/pkg/services/chat/zulip"
	"github.com/nicholas-fedor/shoutrrr/pkg/services/incident/pagerduty"
	"github.com/nicholas-fedor/shoutrrr/pkg/services/push/ntfy"
	"github.com/nicholas-fedor/shoutrrr/pkg/services/push/pushbullet"
	"github.com/nicholas-fedor/shoutrrr/pkg/services/push/pushover"
	"github.com/nicholas-fedor/shoutrrr/pkg/types"
)

// service is what klinghook knows about one of shoutrrr's services.
type service struct {
	// refused says why the service is not supported; empty if it is.
	refused string
	// accepted reports whether the body of a 2xx answer confirms the message. If it
	// is nil, every answer that names no failure confirms it.
	accepted func(body []byte) bool
	// server reports that the URL's host is a server, not a token or an id.
	server bool
	// shared reports that it sends through http.DefaultClient: to the host api or, if
	// that is empty, to the URL's host.
	shared bool
	api    string
	// title reports that it shows a title separately.
	title bool
	// limit is the largest message in bytes. Default 3500.
	limit int
	// lists are the query keys that take several recipients, in lower case.
	lists []string
}

// services has every service of shoutrrr.
var services = map[string]service{
	"bark":       {accepted: field(200, "code"), server: true, shared: true, title: true},
	"discord":    {limit: 1900},
	"generic":    {server: true, shared: true},
	"googlechat": {accepted: field(nil, "name"), server: true, shared: true},
	"gotify":     {accepted: field(nil, "id"), server: true, title: true},
	"hangouts":   {accepted: field(nil, "name"), server: true, shared: true},
	"ifttt":      {shared: true, api: "maker.ifttt.com", lists: []string{"events"}},
	"join":       {accepted: field(true, "success"), shared: true, api: "joinjoaomgcd.appspot.com", title: true},
	"lark":       {accepted: field(0, "code", "StatusCode"), server: true},
	"logger":     {refused: "sends nothing; use generic+https://… or KLINGHOOK_FORWARD_URLS"},
	"matrix": {refused: "does not notice lost messages; use generic+https://HOST/_matrix/client/r0/rooms/ROOM_ID/send/m.room.message" +
		"?template=json&messagekey=body&$msgtype=m.text&@Authorization=Bearer+TOKEN"},
	"mattermost": {server: true},
	"notifiarr":  {shared: true, api: "notifiarr.com"},
	"ntfy":       {accepted: field(nil, "id"), server: true, title: true},
	"opsgenie":   {accepted: field(nil, "result"), server: true, shared: true},
	"pagerduty":  {accepted: field("success", "status"), server: true},
	"pushbullet": {shared: true, api: "api.pushbullet.com", title: true},
	"pushover":   {accepted: field(1, "status"), title: true, limit: 1000},
	"rocketchat": {server: true},
	"signal":     {accepted: field(nil, "timestamp"), server: true, lists: []string{"recipients", "to"}},
	"slack":      {accepted: func(body []byte) bool { return exactly("ok")(body) || field(true, "ok")(body) }},
	"smtp":       {server: true, lists: []string{"toaddresses", "to"}},
	"teams":      {accepted: exactly("1"), shared: true},
	"telegram":   {accepted: field(true, "ok"), lists: []string{"chats", "channels"}},
	"wecom":      {accepted: field(0, "errcode"), limit: 2000},
	"zulip":      {accepted: field("success", "result"), server: true},
}

// openService makes a sender without using the network. shoutrrr's own router does
// the same, but its errors do not describe the problem with the URL.
func openService(rawURL string) (sender, error) {
	u, err := url.Parse(rawURL)
	if err != nil {
		return nil, err
	}
	name, _, custom := strings.Cut(u.Scheme, "+")
	s, err := (&router.ServiceRouter{}).NewService(name)
	if err != nil {
		return nil, err
	}
	if custom {
		converter, ok := s.(types.CustomURLService)
		if !ok {
			return nil, fmt.Errorf("%s does not have the form %s+…", name, name)
		}
		if u, err = converter.GetConfigURLFromCustom(u); err != nil {
			return nil, err
		}
	}
	if err := s.Initialize(u, nil); err != nil {
		return nil, err
	}
	known := services[name]
	client := &http.Client{Transport: guard{accepted: known.accepted}}
	switch s := s.(type) {
	case *telegram.Service, *slack.Service, *lark.Service, *wecom.Service, *signal.Service, *zulip.Service:
		return poster{client, s}, nil
	case *ntfy.Service:
		if s.Config.DisableTLSVerification {
			base := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}} //nolint:gosec // the operator's choice
			client.Transport = guard{base, known.accepted}
		}
	case interface{ GetHTTPClient() *http.Client }: // gotify and mattermost
		client = s.GetHTTPClient()
		client.Transport = guard{client.Transport, known.accepted}
	case *pagerduty.Service:
		s.SetHTTPClient(client)
	case *discord.Service:
		s.HTTPClient = client
	case *pushover.Service:
		s.Client = client
	case *rocketchat.Service:
		s.Client = client
	case *teams.Service:
		known.api = s.Config.Host
	}
	if known.shared {
		guardedHosts().add(cmp.Or(known.api, u.Host), known.accepted)
	}
	return plainSender{s, client}, nil
}

// plainSender sends through a service that takes no context.
type plainSender struct {
	types.Sender
	client *http.Client
}

func (s plainSender) send(_ context.Context, text string, params types.Params) error {
	if service, ok := s.Sender.(*ntfy.Service); ok { // else it keeps the first title
		service.SetHTTPClient(s.client)
	}
	return s.Send(text, &params)
}

// recipients splits a chat URL with several recipients into one URL for each. It
// returns the URL itself if it has one or cannot be read.
func recipients(rawURL string) []string {
	u, err := url.Parse(rawURL)
	if err != nil {
		return []string{rawURL}
	}
	var urls []string
	query := u.Query()
	for _, key := range slices.Sorted(maps.Keys(query)) {
		list := strings.Split(query.Get(key), ",")
		if len(list) < 2 || !slices.Contains(services[u.Scheme].lists, strings.ToLower(key)) {
			continue
		}
		for _, recipient := range list {
			if recipient = strings.TrimSpace(recipient); recipient != "" {
				query.Set(key, recipient)
				u.RawQuery = query.Encode()
				urls = append(urls, u.String())
			}
		}
		break
	}
	prefix, inPath := "/", []string(nil)
	switch u.Scheme {
	case "pushbullet":
		var config pushbullet.Config
		if config.SetURL(u) == nil {
			inPath = slices.DeleteFunc(config.Targets, func(target string) bool { return target == "" })
		}
		u.Fragment, u.RawFragment = "", ""
	case "signal":
		var config signal.Config
		if config.SetURL(u) == nil {
			prefix, inPath = "/"+config.Source+"/", config.Recipients
		}
	}
	for _, recipient := range inPath {
		u.Path, u.RawPath = prefix+recipient, ""
		urls = append(urls, u.String())
	}
	if len(urls) == 0 {
		return []string{rawURL}
	}
	return urls
}
