package notify

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nicholas-fedor/shoutrrr/pkg/router"
	"github.com/nicholas-fedor/shoutrrr/pkg/services/chat/discord"
	"github.com/nicholas-fedor/shoutrrr/pkg/services/chat/rocketchat"
	"github.com/nicholas-fedor/shoutrrr/pkg/services/chat/telegram"
	"github.com/nicholas-fedor/shoutrrr/pkg/types"

	"github.com/klinghook/klinghook/tasks"
)

// httpTimeout limits requests that no context limits.
const httpTimeout = 30 * time.Second

// GuardDefaultClient changes http.DefaultClient, with which most of shoutrrr's
// services send: it gets a timeout, and refuses a redirect that would turn a POST
// into a GET without the message. main calls it before anything uses the client.
func GuardDefaultClient() { guard(http.DefaultClient) }

func guard(client *http.Client) {
	client.CheckRedirect = keepMethod
	if client.Timeout == 0 {
		client.Timeout = httpTimeout
	}
}

func keepMethod(req *http.Request, via []*http.Request) error {
	switch {
	case req.Method != via[0].Method:
		return errors.New("redirected: the message would be lost on the way; configure the URL that it leads to")
	case len(via) >= 10:
		return errors.New("redirected 10 times")
	}
	return nil
}

// openService makes a sender. shoutrrr's own router does the same, but its errors do
// not say what is wrong with the URL.
func openService(rawURL string) (sender, error) {
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
			return nil, fmt.Errorf("%s does not have the form %s+…", name, name)
		}
		if u, err = converter.GetConfigURLFromCustom(u); err != nil {
			return nil, err
		}
	}
	if err := service.Initialize(u, nil); err != nil {
		return nil, err
	}
	client := &http.Client{}
	guard(client)
	switch s := service.(type) {
	case *telegram.Service:
		return &telegramSender{config: s.GetConfig(), api: "https://api.telegram.org", client: client}, nil
	case *discord.Service:
		return &discordSender{s, client}, nil
	case *rocketchat.Service:
		guard(s.Client)
	case interface{ GetHTTPClient() *http.Client }: // gotify and mattermost
		guard(s.GetHTTPClient())
	}
	return plainSender{service}, nil
}

// plainSender sends through a service that takes no context.
type plainSender struct{ types.Sender }

func (s plainSender) send(_ context.Context, text string, params types.Params) error {
	return s.Send(text, &params)
}

// discordSender ends shoutrrr's own retries, which last minutes, with the context.
type discordSender struct {
	service *discord.Service
	client  *http.Client
}

func (s *discordSender) send(ctx context.Context, text string, params types.Params) error {
	s.service.HTTPClient = boundClient{ctx, s.client}
	s.service.Sleeper = boundSleeper{ctx}
	return s.service.Send(text, &params)
}

// boundClient and boundSleeper contain a context because shoutrrr's interfaces have
// no parameter for it; they live as long as one send.
type boundClient struct {
	ctx    context.Context
	client *http.Client
}

func (c boundClient) Do(req *http.Request) (*http.Response, error) {
	return c.client.Do(req.WithContext(c.ctx))
}

type boundSleeper struct{ ctx context.Context }

func (s boundSleeper) Sleep(delay time.Duration) {
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-s.ctx.Done():
	}
}

// telegramSender sends instead of shoutrrr's service, which takes an unreachable host
// and an answer that is not Telegram's for success.
type telegramSender struct {
	config *telegram.Config
	api    string
	client *http.Client
}

func (s *telegramSender) send(ctx context.Context, text string, _ types.Params) error {
	for _, chat := range s.config.Chats {
		if err := s.sendTo(ctx, chat, text); err != nil {
			return err
		}
	}
	return nil
}

func (s *telegramSender) sendTo(ctx context.Context, chat, text string) error {
	id, topic, _ := strings.Cut(chat, ":")
	message := map[string]any{
		"chat_id": id, "text": text,
		"disable_notification": !s.config.Notification, "disable_web_page_preview": !s.config.Preview,
	}
	if topic, err := strconv.Atoi(topic); err == nil {
		message["message_thread_id"] = topic
	}
	if s.config.Title != "" {
		message["text"] = fmt.Sprintf("<b>%s</b>\n%s", html.EscapeString(s.config.Title), html.EscapeString(text))
		message["parse_mode"] = "HTML"
	}
	body, err := json.Marshal(message)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.api+"/bot"+s.config.Token+"/sendMessage", bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := s.client.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }() // only read from
	var answer struct {
		OK          bool   `json:"ok"`
		Description string `json:"description"`
		Parameters  struct {
			RetryAfter json.Number `json:"retry_after"`
		} `json:"parameters"`
	}
	err = json.NewDecoder(io.LimitReader(res.Body, maxAnswer)).Decode(&answer)
	switch {
	case err == nil && answer.OK:
		return nil
	case err != nil || answer.Description == "":
		return fmt.Errorf("the answer %s is not Telegram's", res.Status)
	}
	return tasks.RetryAfter(errors.New(answer.Description), tasks.ParseRetryAfter(answer.Parameters.RetryAfter.String(), time.Now()))
}

// maxAnswer limits how much of an answer is read, in bytes.
const maxAnswer = 64 << 10

// recipients splits a chat URL with several recipients into one URL for each. It
// returns the URL itself if it has one or cannot be read.
func recipients(rawURL string) []string {
	u, err := url.Parse(rawURL)
	if err != nil {
		return []string{rawURL}
	}
	keys := map[string][]string{
		"telegram": {"chats", "channels"},
		"smtp":     {"toaddresses", "to"},
		"matrix":   {"rooms", "room"},
		"ifttt":    {"events"},
	}[u.Scheme]
	query := u.Query()
	for key := range query {
		list := strings.Split(query.Get(key), ",")
		if len(list) < 2 || !slices.Contains(keys, strings.ToLower(key)) {
			continue
		}
		var urls []string
		for _, recipient := range list {
			if recipient = strings.TrimSpace(recipient); recipient != "" {
				query.Set(key, recipient)
				u.RawQuery = query.Encode()
				urls = append(urls, u.String())
			}
		}
		if len(urls) > 0 {
			return urls
		}
	}
	return []string{rawURL}
}
