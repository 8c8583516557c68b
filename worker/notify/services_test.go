package notify

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nicholas-fedor/shoutrrr/pkg/router"
	"github.com/nicholas-fedor/shoutrrr/pkg/services/chat/discord"

	"github.com/klinghook/klinghook/tasks"
)

// httpServices has a URL of each service that uses HTTP, and an answer that accepts a
// message. PLAIN stands for a server without TLS.
var httpServices = map[string]struct{ url, accepts string }{
	"bark":       {"bark://:key@bark.example/", `{"code":200,"message":"success"}`},
	"discord":    {"discord://token@123456789", ``},
	"generic":    {"generic://generic.example/hook?template=json", `thanks`},
	"googlechat": {"googlechat://chat.googleapis.com/v1/spaces/s/messages?key=k&token=t", `{"name":"spaces/s/messages/m"}`},
	"gotify":     {"gotify://PLAIN/AbCdEfGhIjKlMnO?disabletls=yes", `{"id":1}`},
	"hangouts":   {"hangouts://chat.googleapis.com/v1/spaces/s/messages?key=k&token=t", `{"name":"spaces/s/messages/m"}`},
	"ifttt":      {"ifttt://key/?events=e", `Congratulations! You've fired the e event`},
	"join":       {"join://shoutrrr:key@join/?devices=d", `{"success":true,"userAuthError":false}`},
	"lark":       {"lark://open.larksuite.com/token?secret=s&title=t", `{"code":0,"msg":"success"}`},
	"mattermost": {"mattermost://PLAIN/token?disabletls=yes", `ok`},
	"notifiarr":  {"notifiarr://key?channel=123456789012345678", `{"result":"success"}`},
	"ntfy":       {"ntfy://ntfy.example/topic", `{"id":"1","event":"message"}`},
	"opsgenie":   {"opsgenie://api.opsgenie.com/token", `{"result":"Request will be processed","requestId":"r"}`},
	"pagerduty":  {"pagerduty://events.pagerduty.com:443/0123456789abcdef0123456789abcdef", `{"status":"success","message":"Event processed"}`},
	"pushbullet": {"pushbullet://o.AbCdEfGhIjKlMnOpQrStUvWxYz012345", ``},
	"pushover":   {"pushover://shoutrrr:token@user/", `{"status":1,"request":"r"}`},
	"rocketchat": {"rocketchat://rocket.example/a/b", `{"success":true}`},
	"signal":     {"signal://u:p@signal.example:8080/+491/+492", `{"timestamp":"1"}`},
	"slack":      {"slack://hook:T00000000-B00000000-XXXXXXXXXXXXXXXXXXXXXXXX@webhook", `ok`},
	"slack API":  {"slack://xoxb:123456789012-1234567890123-4mt0t4l1YL3g1T5L4cK70k3N@C001CH4NN3L", `{"ok":true,"channel":"C001CH4NN3L"}`},
	"teams": {
		"teams://11111111-4444-4444-8444-cccccccccccc@22222222-4444-4444-8444-cccccccccccc/33333333012222222222333333333344/" +
			"44444444-4444-4444-8444-cccccccccccc/V2ESyij_gAljSoUQHvZoZYzlpAoAXExyOl26dlf1xHEx05?host=org.webhook.office.com", `1`,
	},
	"telegram": {"telegram://110201543:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw0@telegram?chats=@c", `{"ok":true,"result":{"message_id":1}}`},
	"wecom":    {"wecom://693a91f6-7xxx-4bc4-97a0-0ec2sifa5aaa", `{"errcode":0,"errmsg":"ok"}`},
	"zulip":    {"zulip://bot%40zulip.example:key@zulip.example?stream=s&topic=t", `{"id":42,"result":"success"}`},
}

// testServers answers requests to every host with the handler, or sends them to
// elsewhere if that is not empty. It returns the address that needs no TLS.
func testServers(t *testing.T, elsewhere string, handler http.HandlerFunc) (plain string) {
	t.Helper()
	overTLS, overTCP := httptest.NewTLSServer(handler), httptest.NewServer(handler)
	secure, plain := overTLS.Listener.Addr().String(), overTCP.Listener.Addr().String()
	if elsewhere != "" {
		secure, plain = elsewhere, elsewhere
	}
	original := http.DefaultTransport
	transport := &http.Transport{
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, //nolint:gosec // a test server for every host
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, secure)
		},
	}
	http.DefaultTransport = transport
	t.Cleanup(func() {
		http.DefaultTransport = original
		transport.CloseIdleConnections()
		overTLS.Close()
		overTCP.Close()
	})
	return plain
}

// repeated is an endless reader of one byte.
type repeated byte

func (r repeated) Read(p []byte) (int, error) {
	return copy(p, bytes.Repeat([]byte{byte(r)}, len(p))), nil
}

func status(code int, header, value, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		if header != "" {
			w.Header().Set(header, value)
		}
		w.WriteHeader(code)
		_, _ = io.WriteString(w, body)
	}
}

func TestOnlyAcceptedMessagesAreSent(t *testing.T) {
	answers := []struct {
		name   string
		handle http.HandlerFunc // nil: the service accepts
		want   string
		wait   time.Duration
	}{
		{"accepted", nil, "", 0},
		{"301", status(301, "Location", "https://elsewhere.example/", ""), "configure the URL", 0},
		{"302", status(302, "Location", "https://elsewhere.example/", "ok"), "configure the URL", 0},
		{"303", status(303, "Location", "https://elsewhere.example/", ""), "configure the URL", 0},
		{"307", status(307, "Location", "https://elsewhere.example/", ""), "configure the URL", 0},
		{"308", status(308, "Location", "https://elsewhere.example/", ""), "configure the URL", 0},
		{"304", status(304, "", "", ""), "304", 0},
		{"400", status(400, "", "", `{"ok":false,"description":"chat not found"}`), "400", 0},
		{"401", status(401, "", "", "no"), "401", 0},
		{"404", status(404, "", "", "ok"), "404", 0},
		{"410", status(410, "", "", ""), "410", 0},
		{"429", status(429, "Retry-After", "17", ""), "429", 17 * time.Second},
		{"500", status(500, "", "", "ok"), "500", 0},
		{"502 page", status(502, "", "", "<html>Bad Gateway</html>"), "502", 0},
		{"503", status(503, "Retry-After", "18", `{"ok":true}`), "503", 18 * time.Second},
		{"page", status(200, "", "", "\n<!DOCTYPE html><html>sign in</html>"), "does not accept", 0},
		{"ok false", status(200, "", "", `{"ok":false,"code":1,"errcode":1,"status":0}`), "", 0},
		{"success false", status(200, "", "", `{"success":false,"name":"x"}`), "", 0},
		{"error", status(200, "", "", `{"error":{"type":"invalid"},"id":1}`), "", 0},
		{"errors", status(202, "", "", `{"errors":["x"],"id":1}`), "", 0},
		{"result error", status(200, "", "", `{"result":"error","msg":"x"}`), "", 0},
		{"cut", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			_, _ = io.WriteString(w, "ok")
		}, "cut", 0},
		{"closed", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, "EOF", 0},
		{"unknown host", nil, "no such host", 0},
		{"refused connection", nil, "connection refused", 0},
		{"endless", func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, "{")
			_, _ = io.CopyN(w, repeated(' '), 1<<30)
		}, "longer", 0},
	}
	for _, tt := range answers {
		var elsewhere string
		switch tt.name {
		case "unknown host":
			elsewhere = "chat.invalid:443"
		case "refused connection":
			elsewhere = "127.0.0.1:1"
		}
		t.Run(tt.name, func(t *testing.T) {
			for service, s := range httpServices {
				var got atomic.Pointer[string]
				var requests atomic.Int64
				plain := testServers(t, elsewhere, func(w http.ResponseWriter, r *http.Request) {
					requests.Add(1)
					body, _ := io.ReadAll(r.Body)
					message := r.URL.RawQuery + string(body)
					got.Store(&message)
					switch {
					case tt.handle != nil && r.Host != "elsewhere.example":
						tt.handle(w, r)
					case service == "pushbullet": // repeats the message
						var push map[string]any
						_ = json.Unmarshal(body, &push)
						push["active"] = true
						_ = json.NewEncoder(w).Encode(push)
					default:
						_, _ = io.WriteString(w, s.accepts)
					}
				})
				n, name := newTestChat(t, strings.ReplaceAll(s.url, "PLAIN", plain), nil)
				_, err := n.Send(context.Background(), name, testMessage())
				switch {
				case tt.name == "accepted":
					if err != nil || requests.Load() != 1 || !strings.Contains(*got.Load(), "vid_abc123") {
						t.Errorf("%s: %v after %d requests", service, err, requests.Load())
					}
				case err == nil || !strings.Contains(err.Error(), tt.want) || requests.Load() > 1:
					t.Errorf("%s: err = %v after %d requests, want %q", service, err, requests.Load(), tt.want)
				case tasks.RetryAfterOf(err) != tt.wait && !slices.Contains([]string{"generic", "notifiarr", "teams"}, service): // shoutrrr keeps only their errors' text
					t.Errorf("%s: retry after %s, want %s", service, tasks.RetryAfterOf(err), tt.wait)
				}
			}
		})
	}
}

// posted sends one message and returns the resulting requests.
func posted(t *testing.T, n *Notifier, m Message) (requests []string) {
	t.Helper()
	testServers(t, "", func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		requests = append(requests, strings.TrimSpace(r.Header.Get("Authorization")+r.Header.Get("Title")+" "+r.Host+r.URL.RequestURI())+"\n"+string(body))
		_, _ = io.WriteString(w, `{"ok":true,"id":1,"code":0,"errcode":0,"result":"success","timestamp":"1"}`)
	})
	if _, err := n.Send(context.Background(), n.Names()[0], m); err != nil {
		t.Error(err)
	}
	return requests
}

func TestServicesGetTheMessage(t *testing.T) {
	m := Message{Type: tasks.TypeCompleted, Job: JobDetails{ID: "a_b & c", Model: "m"}}
	tests := []struct{ name, url, want string }{
		{
			"telegram", "telegram://110201543:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw0@telegram?chats=@c&preview=no",
			"api.telegram.org/bot110201543:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw0/sendMessage\n" +
				`{"chat_id":"@c","disable_notification":false,"disable_web_page_preview":true,"text":"Video completed: a_b \u0026 c\nModel: m"}`,
		},
		{
			"telegram with a topic and a title", "telegram://110201543:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw0@telegram?chats=-1001:42&title=<T>&notification=no",
			"api.telegram.org/bot110201543:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw0/sendMessage\n" +
				`{"chat_id":"-1001","disable_notification":true,"disable_web_page_preview":false,"message_thread_id":42,"parse_mode":"HTML",` +
				`"text":"\u003cb\u003e\u0026lt;T\u0026gt;\u003c/b\u003e\nVideo completed: a_b \u0026amp; c\nModel: m"}`,
		},
		{
			"slack", "slack://xoxb:123456789012-1234567890123-4mt0t4l1YL3g1T5L4cK70k3N@C001CH4NN3L",
			"Bearer xoxb-123456789012-1234567890123-4mt0t4l1YL3g1T5L4cK70k3N slack.com/api/chat.postMessage\n" +
				`{"text":"","attachments":[{"text":"Video completed: a_b \u0026 c"},{"text":"Model: m"}],"channel":"C001CH4NN3L"}`,
		},
		{
			"lark", "lark://open.feishu.cn/token",
			"open.feishu.cn/open-apis/bot/v2/hook/token\n" + `{"msg_type":"text","content":{"text":"Video completed: a_b \u0026 c\nModel: m"}}`,
		},
		{
			"wecom", "wecom://key-1?mentioned_list=a,b",
			"qyapi.weixin.qq.com/cgi-bin/webhook/send?key=key-1\n" +
				`{"msgtype":"text","text":{"content":"Video completed: a_b \u0026 c\nModel: m","mentioned_list":["a","b"]}}`,
		},
		{
			"signal", "signal://signal.example:8080/+491/+492?token=t",
			"Bearer t signal.example:8080/v2/send\n" + `{"message":"Video completed: a_b \u0026 c\nModel: m","number":"+491","recipients":["+492"]}`,
		},
		{
			"zulip", "zulip://bot%40z.example:key@z.example?stream=s&topic=t",
			"Basic Ym90QHouZXhhbXBsZTprZXk= z.example/api/v1/messages\ncontent=Video+completed%3A+a_b+%26+c%0AModel%3A+m&to=s&topic=t&type=stream",
		},
		{
			"matrix through generic", "generic+https://matrix.example/_matrix/client/r0/rooms/!r:m.example/send/m.room.message" +
				"?template=json&messagekey=body&$msgtype=m.text&@Authorization=Bearer+TOKEN",
			"Bearer TOKEN matrix.example/_matrix/client/r0/rooms/!r:m.example/send/m.room.message\n" +
				`{"body":"Video completed: a_b \u0026 c\nModel: m","msgtype":"m.text"}`,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			n, _ := newTestChat(t, tt.url, nil)
			if diff := cmp.Diff([]string{tt.want}, posted(t, n, m)); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestNtfyMessagesHaveTheirOwnTitles(t *testing.T) {
	n, _ := newTestChat(t, "ntfy://ntfy.example/topic", nil)
	for _, id := range []string{"1", "2", "3", "4", "5"} {
		got := posted(t, n, Message{Type: tasks.TypeCompleted, Job: JobDetails{ID: id, Model: "m"}})
		if diff := cmp.Diff([]string{"Video completed: " + id + " ntfy.example/topic\nModel: m"}, got); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
	}
}

func TestLongTextsAreCutToOneMessage(t *testing.T) {
	m := testMessage()
	for range 100 {
		m.Media = append(m.Media, m.Media[0])
	}
	n, name := newTestChat(t, "generic://example.com/", nil)
	if text, _ := as[*chat](t, n, name).compose(m); len(text) != maxMessage+len("…") {
		t.Errorf("text of a service without a limit has %d bytes", len(text))
	}
	n, _ = newTestChat(t, "discord://token@123456789", nil)
	requests := posted(t, n, m)
	if len(requests) != 1 {
		t.Fatalf("%d requests, want 1", len(requests))
	}
	var got discord.WebhookPayload
	_, body, _ := strings.Cut(requests[0], "\n")
	if err := json.Unmarshal([]byte(body), &got); err != nil {
		t.Fatal(err)
	}
	want := title(m) + "\n" + strings.Join(lines(m), "\n")
	if kept, isCut := strings.CutSuffix(got.Content, "…"); !isCut || !strings.HasPrefix(want, kept) || len(kept) < 1800 {
		t.Errorf("content %q", got.Content)
	}
}

func TestRequestsToOtherHostsAreNotGuarded(t *testing.T) {
	newTestChat(t, "generic://generic.example/", nil)
	testServers(t, "", status(404, "", "", `{"error":"no"}`))
	for host, guarded := range map[string]bool{"https://generic.example:443/": true, "https://other.example/": false} {
		res, err := http.Get(host)
		if (err != nil) != guarded {
			t.Errorf("%s: err = %v, want an error: %t", host, err, guarded)
		}
		if err == nil {
			_ = res.Body.Close()
		}
	}
}

func TestEveryServiceIsKnown(t *testing.T) {
	for _, name := range (&router.ServiceRouter{}).ListServices() {
		known, ok := services[name]
		_, tested := httpServices[name]
		if !ok || !tested && known.refused == "" && name != "smtp" {
			t.Errorf("%s: known %t, tested %t", name, ok, tested)
		}
	}
}

func TestEachRecipientIsADestination(t *testing.T) {
	const token = "o.AbCdEfGhIjKlMnOpQrStUvWxYz012345"
	tests := []struct {
		name, url string
		want      []string
	}{
		{"telegram", "telegram://1:token@telegram?chats=@a,%20-2:7&preview=no", []string{
			"telegram://1:token@telegram?chats=%40a&preview=no", "telegram://1:token@telegram?chats=-2%3A7&preview=no",
		}},
		{"mail", "smtp://u:p@mail.example.com/?from=a@b.c&toAddresses=x@b.c,y@b.c,", []string{
			"smtp://u:p@mail.example.com/?from=a%40b.c&toAddresses=x%40b.c", "smtp://u:p@mail.example.com/?from=a%40b.c&toAddresses=y%40b.c",
		}},
		{"ifttt", "ifttt://key/?events=a,b", []string{"ifttt://key/?events=a", "ifttt://key/?events=b"}},
		{"signal", "signal://h:8080/+491/+492/group.a/b=/+493", []string{
			"signal://h:8080/+491/+492", "signal://h:8080/+491/group.a/b=", "signal://h:8080/+491/+493",
		}},
		{"pushbullet", "pushbullet://" + token + "/dev/a@b.c#chan", []string{
			"pushbullet://" + token + "/dev", "pushbullet://" + token + "/a@b.c", "pushbullet://" + token + "/%23chan",
		}},
		{"one channel", "pushbullet://" + token + "/#chan", []string{"pushbullet://" + token + "/%23chan"}},
		{"one recipient", "smtp://mail.example.com/?to=x@b.c&from=a@b.c", []string{"smtp://mail.example.com/?to=x@b.c&from=a@b.c"}},
		{"one message", "pushover://shoutrrr:token@user/?devices=a,b", []string{"pushover://shoutrrr:token@user/?devices=a,b"}},
		{"nobody", "smtp://mail.example.com/?to=,", []string{"smtp://mail.example.com/?to=,"}},
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
