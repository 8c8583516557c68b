package notify

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/nicholas-fedor/shoutrrr/pkg/services/chat/discord"
	"github.com/nicholas-fedor/shoutrrr/pkg/types"

	"github.com/klinghook/klinghook/tasks"
)

// sendFunc is a shoutrrr sender.
type sendFunc func(text string, params *types.Params) error

func (f sendFunc) Send(text string, params *types.Params) error { return f(text, params) }

// newTestChat returns a notifier with the URL as its only destination, and what
// sends to it replaced by send unless that is nil.
func newTestChat(t *testing.T, rawURL string, send sendFunc) (n *Notifier, name string) {
	t.Helper()
	n, err := New(Config{ChatURLs: []string{rawURL}, Timeout: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	name = n.Names()[0]
	if send != nil {
		as[*chat](t, n, name).open = func(string) (types.Sender, error) { return send, nil }
	}
	return n, name
}

func TestChatOverHTTP(t *testing.T) {
	got := make(chan string, 1)
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got <- string(body)
	}))
	defer srv.Close()
	address := strings.TrimPrefix(srv.URL, "http://")
	for _, rawURL := range []string{"generic+" + srv.URL + "/hook", "generic://" + address + "/hook?disabletls=yes"} {
		n, name := newTestChat(t, rawURL, nil)
		if err := n.Send(context.Background(), name, testMessage()); err != nil {
			t.Fatal(err)
		}
		wantText(t, <-got, []string{"Video completed: vid_abc123\n", "\nModel: kling-v1.5\n"}, []string{"s3cr3t"})
	}
}

func TestChatErrorTellsNoSecret(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusInternalServerError)
	}))
	defer srv.Close()
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	tests := []struct {
		name, url string
		want      string
	}{
		{"status", "generic+" + srv.URL + "/hunter2?token=hunter3", "500 Internal Server Error"},
		{"network", "generic+" + gone.URL + "/hunter2?token=hunter3", "connection refused"},
		{"network, mail", "smtp://bob:hunter2@" + strings.TrimPrefix(gone.URL, "http://") + "/?from=hunter3@example.com&to=b@example.com", "connection refused"},
		{"login", "matrix://bob:hunter2@" + strings.TrimPrefix(gone.URL, "http://") + "/?disabletls=yes", "connection refused"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			n, name := newTestChat(t, tt.url, nil)
			err := n.Send(context.Background(), name, testMessage())
			if err == nil || tasks.IsPermanent(err) {
				t.Fatalf("err = %v, want one to retry", err)
			}
			wantText(t, err.Error(), []string{"notify " + name, tt.want}, []string{"hunter", "bob"})
			if errors.Unwrap(errors.Unwrap(err)) != nil {
				t.Errorf("the error still wraps shoutrrr's: %v", err)
			}
		})
	}
}

// TestChatHangs holds that a service that does not answer costs its destination
// maxSends places at most, and that they come back.
func TestChatHangs(t *testing.T) {
	release, started := make(chan struct{}), make(chan struct{}, maxSends+1)
	n, name := newTestChat(t, "generic://example.com/", func(string, *types.Params) error {
		started <- struct{}{}
		<-release
		return nil
	})
	for i := range maxSends {
		ctx, cancel := context.WithCancel(context.Background())
		go func() {
			<-started
			cancel()
		}()
		err := n.Send(ctx, name, testMessage())
		if !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "no answer") {
			t.Fatalf("send %d: err = %v", i+1, err)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	err := n.Send(ctx, name, testMessage())
	if !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "4 earlier sends") {
		t.Fatalf("err = %v, want no place left", err)
	}
	close(release)
	if err := n.Send(context.Background(), name, testMessage()); err != nil {
		t.Errorf("after the service answered: %v", err)
	}
}

func TestChatPanics(t *testing.T) {
	n, name := newTestChat(t, "generic://example.com/hunter2", func(string, *types.Params) error {
		panic("cannot use https://example.com/hunter2")
	})
	for range maxSends + 1 {
		err := n.Send(context.Background(), name, testMessage())
		if err == nil {
			t.Fatal("no error")
		}
		wantText(t, err.Error(), []string{"generic service panicked: cannot use https://example.com/…"}, []string{"hunter2"})
	}
}

func TestChatKeepsItsSenders(t *testing.T) {
	tests := []struct {
		name, url string
		want      int
	}{
		{"others keep theirs", "generic://example.com/", maxSends},
		{"matrix logs in again", "matrix://:token@example.com/", 3 * maxSends},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			n, name := newTestChat(t, tt.url, nil)
			opened := 0
			as[*chat](t, n, name).open = func(string) (types.Sender, error) {
				opened++
				return sendFunc(func(string, *types.Params) error { return errors.New("refused") }), nil
			}
			for range 3 * maxSends {
				if err := n.Send(context.Background(), name, testMessage()); err == nil {
					t.Fatal("no error")
				}
			}
			if opened != tt.want {
				t.Errorf("opened %d senders, want %d", opened, tt.want)
			}
		})
	}
}

// TestChatBindsDiscord holds that Discord's own retries end with the send.
func TestChatBindsDiscord(t *testing.T) {
	n, name := newTestChat(t, "discord://token@123456789", nil)
	c := as[*chat](t, n, name)
	sender, err := openService(c.url)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	<-c.idle
	err = c.run(ctx, sender, "text", types.Params{})
	if err == nil || !strings.Contains(err.Error(), context.Canceled.Error()) {
		t.Errorf("err = %v, want the context's", err)
	}
	service, ok := sender.(*discord.Service)
	if !ok {
		t.Fatalf("sender is a %T", sender)
	}
	service.Sleeper.Sleep(time.Hour) // with ctx over, this returns at once
}

func TestScrub(t *testing.T) {
	tests := []struct {
		name, url, text, want string
	}{
		{
			"slack's token in its API URL",
			"slack://hook:T0AAAAAAA-B0BBBBBBB-XXXXXXXXXXXXXXXXXXXXXXXX@webhook",
			`failed to invoke webhook: Post "https://hooks.slack.com/services/T0AAAAAAA/B0BBBBBBB/XXXXXXXXXXXXXXXXXXXXXXXX": EOF`,
			`failed to invoke …: Post "https://hooks.slack.com/…": EOF`,
		},
		{
			"parts of a token on their own",
			"slack://xoxb:1234567890-0987654321-AbCdEfGhIjKlMnOpQrStUvWx@C0123",
			"no T: xoxb-1234567890-0987654321-AbCdEfGhIjKlMnOpQrStUvWx, then AbCdEfGhIjKlMnOpQrStUvWx",
			"no T: …-…, then …",
		},
		{
			"telegram",
			"telegram://110201543:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw0@telegram?chats=@channel",
			`posting JSON to "https://api.telegram.org/bot110201543:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw0/sendMessage": i/o timeout`,
			`posting JSON to "https://api.telegram.org/…": i/o timeout`,
		},
		{
			"a token where others have a host",
			"pushbullet://o.AbCdEfGhIjKlMnOpQrStUvWxYz012345",
			"bad token o.AbCdEfGhIjKlMnOpQrStUvWxYz012345",
			"bad token …",
		},
		{
			"the server's own name stays",
			"smtp://bob:p%40ss%2Fword@mail.example.com:587/?from=bot@example.com&to=ann@example.com",
			"bob: dial tcp: lookup mail.example.com: p@ss/word and p%40ss%2Fword sent to ann@example.com",
			"…: dial tcp: lookup mail.example.com: … and … sent to …",
		},
		{
			"links of the service's own kind",
			"ifttt://AbCdEfGhIjKl/?events=e",
			"ifttt://AbCdEfGhIjKl/?x=1 and https://maker.ifttt.com and https://%zz/AbC",
			"ifttt://… and https://maker.ifttt.com and https://…",
		},
		{"one line of bounded length", "generic://example.com/", "a\nb " + strings.Repeat("x", 500), "a b " + strings.Repeat("x", 196) + "…"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, err := newChat(tt.url)
			if err != nil {
				t.Fatal(err)
			}
			if got := c.scrub(tt.text); got != tt.want {
				t.Errorf("scrub(%q)\n got %q\nwant %q", tt.text, got, tt.want)
			}
		})
	}
}

func TestChatOverMail(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	mail := make(chan string, 1)
	go func() {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		mail <- receiveMail(conn)
	}()
	n, name := newTestChat(t, fmt.Sprintf("smtp://%s/?from=bot@example.com&to=ann@example.com", listener.Addr()), nil)
	m := testMessage()
	m.Job.ID = "vid_1\r\nBcc: eve@example.com"
	if err := n.Send(context.Background(), name, m); err != nil {
		t.Fatal(err)
	}
	wantText(t, <-mail,
		[]string{"Subject: =?utf-8?q?Video_completed:_vid=5F1_Bcc:", "To: ann@example.com\n", "\nModel: kling-v1.5\n"},
		[]string{"\nBcc:", "s3cr3t"})
}

// receiveMail speaks SMTP to one client and returns the mail that it sent.
func receiveMail(conn net.Conn) string {
	lines := bufio.NewScanner(conn)
	say := func(reply string) { _, _ = io.WriteString(conn, reply+"\r\n") }
	var mail strings.Builder
	inData := false
	say("220 mail.example.com")
	for lines.Scan() {
		line := lines.Text()
		switch {
		case inData && line == ".":
			inData = false
			say("250 kept")
		case inData:
			mail.WriteString(line + "\n")
		case line == "DATA":
			inData = true
			say("354 go on")
		case line == "QUIT":
			say("221 bye")
			return mail.String()
		default:
			say("250 fine")
		}
	}
	return mail.String()
}
