package notify

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nicholas-fedor/shoutrrr/pkg/services/chat/discord"

	"github.com/klinghook/klinghook/tasks"
)

func TestRedirectThatLosesTheMessageIsAnError(t *testing.T) {
	elsewhere := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost {
			t.Errorf("%s reached the target", r.Method)
		}
		_, _ = io.WriteString(w, "ok")
	}))
	defer elsewhere.Close()
	for _, tt := range []struct {
		status int
		lost   bool
	}{{301, true}, {302, true}, {303, true}, {307, false}, {308, false}} {
		srv := httptest.NewServer(http.RedirectHandler(elsewhere.URL, tt.status))
		host := strings.TrimPrefix(srv.URL, "http://")
		for _, rawURL := range []string{"generic+" + srv.URL + "/hook", "mattermost://" + host + "/token?disabletls=yes"} {
			n, name := newTestChat(t, rawURL, nil)
			err := n.Send(context.Background(), name, testMessage())
			if (err != nil) != tt.lost || tt.lost && !strings.Contains(err.Error(), "configure the URL that it leads to") {
				t.Errorf("%d from %s: err = %v, want an error: %t", tt.status, name, err, tt.lost)
			}
		}
		srv.Close()
	}
	http.DefaultClient.CloseIdleConnections()
}

// telegramAt returns a sender of Telegram's API at another URL.
func telegramAt(t *testing.T, api, query string) *telegramSender {
	t.Helper()
	s, err := openService("telegram://110201543:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw0@telegram?" + query)
	if err != nil {
		t.Fatal(err)
	}
	sender, ok := s.(*telegramSender)
	if !ok {
		t.Fatalf("sender is a %T", s)
	}
	sender.api = api
	return sender
}

func TestTelegramMessage(t *testing.T) {
	tests := []struct {
		name, query string
		want        map[string]any
	}{
		{"plain", "chats=@channel&preview=no", map[string]any{
			"chat_id": "@channel", "text": "a_b & c", "disable_notification": false, "disable_web_page_preview": true,
		}},
		{"with a topic and a title", "chats=-1001:42&title=Kling&notification=no", map[string]any{
			"chat_id": "-1001", "message_thread_id": 42.0, "text": "<b>Kling</b>\na_b &amp; c", "parse_mode": "HTML",
			"disable_notification": true, "disable_web_page_preview": false,
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				var got map[string]any
				if err := json.NewDecoder(r.Body).Decode(&got); err != nil {
					t.Error(err)
				}
				if diff := cmp.Diff(tt.want, got); diff != "" || !strings.HasSuffix(r.URL.Path, "Dsaw0/sendMessage") {
					t.Errorf("%s (-want +got)\n%s", r.URL.Path, diff)
				}
				_, _ = io.WriteString(w, `{"ok":true,"result":{"message_id":1}}`)
			}))
			defer srv.Close()
			if err := telegramAt(t, srv.URL, tt.query).send(context.Background(), "a_b & c", nil); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestTelegramFailureIsAnError(t *testing.T) {
	tests := []struct {
		name   string
		status int
		answer string
		want   string
		wait   time.Duration
	}{
		{"refused", 400, `{"ok":false,"error_code":400,"description":"Bad Request: chat not found"}`, "chat not found", 0},
		{"too many requests", 429, `{"ok":false,"description":"Too Many Requests","parameters":{"retry_after":7}}`, "Too Many", 7 * time.Second},
		{"a page of a proxy", 502, `<html>Bad Gateway</html>`, "502 Bad Gateway is not Telegram's", 0},
		{"a page in a 200", 200, `<html>sign in</html>`, "200 OK is not Telegram's", 0},
		{"an empty answer", 200, ``, "not Telegram's", 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(tt.status)
				_, _ = io.WriteString(w, tt.answer)
			}))
			defer srv.Close()
			n, name := newTestChat(t, "telegram://110201543:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw0@telegram?chats=@c", nil)
			as[*chat](t, n, name).open = func(string) (sender, error) { return telegramAt(t, srv.URL, "chats=@c"), nil }
			err := n.Send(context.Background(), name, testMessage())
			if err == nil || !strings.Contains(err.Error(), tt.want) || tasks.RetryAfterOf(err) != tt.wait {
				t.Errorf("err = %v, retry after %s; want %q, %s", err, tasks.RetryAfterOf(err), tt.want, tt.wait)
			}
		})
	}
	err := telegramAt(t, "http://telegram.invalid", "chats=@c").send(context.Background(), "text", nil)
	if err == nil {
		t.Error("a host that does not resolve is no error")
	}
}

// roundTripper answers requests without a network.
type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// openDiscord returns a Discord sender whose requests are answered by the function.
func openDiscord(t *testing.T, answer roundTripper) *discordSender {
	t.Helper()
	s, err := openService("discord://token@123456789")
	if err != nil {
		t.Fatal(err)
	}
	sender, ok := s.(*discordSender)
	if !ok {
		t.Fatalf("sender is a %T", s)
	}
	sender.client.Transport = answer
	return sender
}

func TestDiscordGetsOneMessageInOrder(t *testing.T) {
	m := testMessage()
	for range 100 {
		m.Media = append(m.Media, m.Media[0])
	}
	n, name := newTestChat(t, "discord://token@123456789", nil)
	var bodies []string
	as[*chat](t, n, name).open = func(string) (sender, error) {
		return openDiscord(t, func(r *http.Request) (*http.Response, error) {
			body, err := io.ReadAll(r.Body)
			bodies = append(bodies, string(body))
			return &http.Response{StatusCode: http.StatusNoContent, Body: http.NoBody}, err
		}), nil
	}
	if err := n.Send(context.Background(), name, m); err != nil {
		t.Fatal(err)
	}
	if len(bodies) != 1 {
		t.Fatalf("%d requests, want 1", len(bodies))
	}
	var got discord.WebhookPayload
	if err := json.Unmarshal([]byte(bodies[0]), &got); err != nil {
		t.Fatal(err)
	}
	want := title(m) + "\n" + strings.Join(lines(m), "\n")
	if kept, isCut := strings.CutSuffix(got.Content, "…"); !isCut || !strings.HasPrefix(want, kept) || len(kept) < 1800 {
		t.Errorf("content %q", got.Content)
	}
}

func TestDiscordRetriesEndWithTheSend(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	s := openDiscord(t, func(r *http.Request) (*http.Response, error) {
		cancel()
		return nil, errors.Join(errors.New("connection refused"), r.Context().Err())
	})
	err := s.send(ctx, "text", nil)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("err = %v, want the context's", err)
	}
	s.service.Sleeper.Sleep(time.Hour) // returns at once
}

func TestEachRecipientIsADestination(t *testing.T) {
	tests := []struct {
		name, url string
		want      []string
	}{
		{"telegram", "telegram://1:token@telegram?chats=@a,%20-2:7&preview=no", []string{
			"telegram://1:token@telegram?chats=%40a&preview=no", "telegram://1:token@telegram?chats=-2%3A7&preview=no",
		}},
		{"mail", "smtp://u:p@mail.example.com/?from=a@b.c&toAddresses=x@b.c,y@b.c", []string{
			"smtp://u:p@mail.example.com/?from=a%40b.c&toAddresses=x%40b.c", "smtp://u:p@mail.example.com/?from=a%40b.c&toAddresses=y%40b.c",
		}},
		{"one recipient", "smtp://mail.example.com/?to=x@b.c&from=a@b.c", []string{"smtp://mail.example.com/?to=x@b.c&from=a@b.c"}},
		{"another service", "ntfy://ntfy.sh/topic?tags=a,b", []string{"ntfy://ntfy.sh/topic?tags=a,b"}},
		{"not a URL", "smtp://%zz?to=a,b", []string{"smtp://%zz?to=a,b"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, recipients(tt.url)); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
	n, err := New(Config{ChatURLs: []string{"smtp://mail.example.com/?from=a@b.c&to=x@b.c,y@b.c,x@b.c"}})
	if err != nil || len(n.Names()) != 2 {
		t.Errorf("New: %v, want two destinations", err)
	}
}
