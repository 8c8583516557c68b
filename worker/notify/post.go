package notify

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/nicholas-fedor/shoutrrr/pkg/services/chat/lark"
	"github.com/nicholas-fedor/shoutrrr/pkg/services/chat/signal"
	"github.com/nicholas-fedor/shoutrrr/pkg/services/chat/slack"
	"github.com/nicholas-fedor/shoutrrr/pkg/services/chat/telegram"
	"github.com/nicholas-fedor/shoutrrr/pkg/services/chat/wecom"
	"github.com/nicholas-fedor/shoutrrr/pkg/services/chat/zulip"
	"github.com/nicholas-fedor/shoutrrr/pkg/types"
)

// poster sends for services whose HTTP client shoutrrr does not let us guard. shoutrrr
// still parses their URLs.
type poster struct {
	client  *http.Client
	service types.Service
}

func (p poster) send(ctx context.Context, text string, _ types.Params) error {
	var payload any
	var body []byte
	authorization, contentType := "", "application/json"
	target := url.URL{Scheme: "https"}
	switch s := p.service.(type) {
	case *telegram.Service:
		config := s.GetConfig()
		target.Host, target.Path = "api.telegram.org", "/bot"+config.Token+"/sendMessage"
		payload = telegramMessage(config, text)
	case *slack.Service:
		payload = slack.CreateJSONPayload(s.Config, text)
		target.Host, target.Path = "slack.com", "/api/chat.postMessage"
		if authorization = s.Config.Token.Authorization(); !s.Config.Token.IsAPIToken() {
			hook, err := url.Parse(s.Config.Token.WebhookURL())
			if err != nil {
				return err
			}
			authorization, target = "", *hook
		}
	case *lark.Service:
		target.Host, target.Path = s.Config.Host, "/open-apis/bot/v2/hook/"+s.Config.Path
		payload = larkMessage(s.Config, text)
	case *wecom.Service:
		target.Host, target.Path = "qyapi.weixin.qq.com", "/cgi-bin/webhook/send"
		target.RawQuery = url.Values{"key": {s.Config.Key}}.Encode()
		payload = wecom.RequestBody{MsgType: "text", Text: wecom.TextContent{
			Content: text, MentionedList: fields(s.Config.MentionedList), MentionedMobileList: fields(s.Config.MentionedMobileList),
		}}
	case *signal.Service:
		target.Host, target.Path = net.JoinHostPort(strings.Trim(s.Config.Host, "[]"), strconv.Itoa(s.Config.Port)), "/v2/send"
		if s.Config.DisableTLS {
			target.Scheme = "http"
		}
		switch {
		case s.Config.Token != "":
			authorization = "Bearer " + s.Config.Token
		case s.Config.User != "":
			target.User = url.UserPassword(s.Config.User, s.Config.Password)
		}
		payload = map[string]any{"message": text, "number": s.Config.Source, "recipients": s.Config.Recipients}
	case *zulip.Service:
		target.Host, target.Path = s.Config.Host, "/api/v1/messages"
		target.User = url.UserPassword(s.Config.BotMail, s.Config.BotKey)
		body, contentType = []byte(zulip.CreatePayload(s.Config, text).Encode()), "application/x-www-form-urlencoded"
	}
	if payload != nil {
		var err error
		if body, err = json.Marshal(payload); err != nil {
			return err
		}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, target.String(), bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", contentType)
	if authorization != "" {
		req.Header.Set("Authorization", authorization)
	}
	res, err := p.client.Do(req) // the guard reads and checks the answer
	if err != nil {
		return err
	}
	return res.Body.Close()
}

func telegramMessage(config *telegram.Config, text string) map[string]any {
	id, topic, _ := strings.Cut(config.Chats[0], ":")
	message := map[string]any{
		"chat_id": id, "text": text,
		"disable_notification": !config.Notification, "disable_web_page_preview": !config.Preview,
	}
	if topic, err := strconv.Atoi(topic); err == nil {
		message["message_thread_id"] = topic
	}
	if config.Title != "" {
		message["text"] = fmt.Sprintf("<b>%s</b>\n%s", html.EscapeString(config.Title), html.EscapeString(text))
		message["parse_mode"] = "HTML"
	}
	return message
}

func fields(list string) []string {
	return strings.FieldsFunc(list, func(r rune) bool { return r == ',' })
}

func larkMessage(config *lark.Config, text string) lark.RequestBody {
	body := lark.RequestBody{MsgType: lark.MsgTypeText, Content: lark.Content{Text: text}}
	if config.Title != "" {
		items := [][]lark.Item{{{Tag: lark.TagValueText, Text: text}}}
		body.MsgType = lark.MsgTypePost
		body.Content = lark.Content{Post: &lark.Post{En: &lark.Message{Title: config.Title, Content: items}}}
	}
	if config.Secret != "" {
		body.Timestamp = strconv.FormatInt(time.Now().Unix(), 10)
		mac := hmac.New(sha256.New, []byte(body.Timestamp+"\n"+config.Secret))
		body.Sign = base64.StdEncoding.EncodeToString(mac.Sum(nil))
	}
	return body
}
