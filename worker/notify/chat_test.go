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
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nicholas-fedor/shoutrrr/pkg/types"

	"github.com/klinghook/klinghook/tasks"
)

// fakeSender is a sender whose result the test chooses.
type fakeSender func(text string) error

func (f fakeSender) send(_ context.Context, text string, _ types.Params) error { return f(text) }

// newTestChat returns a notifier with one destination. fake, unless nil, sends to it.
func newTestChat(t *testing.T, rawURL string, fake fakeSender) (n *Notifier, name string) {
	t.Helper()
	n, err := New(Config{ChatURLs: []string{rawURL}, Timeout: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	name = n.Names()[0]
	if fake != nil {
		as[*chat](t, n, name).open = func(string) (sender, error) { return fake, nil }
	}
	return n, name
}

func TestChatErrorShowsNoSecret(t *testing.T) {
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
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			n, name := newTestChat(t, tt.url, nil)
			_, err := n.Send(context.Background(), name, testMessage())
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

// TestHungSendsReleaseTheirSlots checks that sends that never return block their destination
// only for a while.
func TestHungSendsReleaseTheirSlots(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		var sends atomic.Int32
		n, name := newTestChat(t, "generic://example.com/", func(string) error {
			if sends.Add(1) <= maxSends {
				<-release
			}
			return nil
		})
		for i := range maxSends {
			_, err := n.Send(t.Context(), name, testMessage())
			if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "no answer") {
				t.Fatalf("send %d: err = %v, want no answer", i+1, err)
			}
		}
		_, err := n.Send(t.Context(), name, testMessage())
		if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "4 earlier sends") {
			t.Fatalf("err = %v, want no place left", err)
		}
		time.Sleep(forgetAfter)
		for range 3 * maxSends {
			if _, err := n.Send(t.Context(), name, testMessage()); err != nil {
				t.Fatalf("after %s: %v", forgetAfter, err)
			}
		}
		close(release)
		synctest.Wait()
		if idle := len(as[*chat](t, n, name).places); idle != maxSends {
			t.Errorf("%d places after the late answers, want %d", idle, maxSends)
		}
	})
}

func TestPanickingServiceIsAnError(t *testing.T) {
	n, name := newTestChat(t, "generic://example.com/hunter2", func(string) error {
		panic("cannot use https://example.com/hunter2")
	})
	for range maxSends + 1 {
		_, err := n.Send(context.Background(), name, testMessage())
		if err == nil {
			t.Fatal("no error")
		}
		wantText(t, err.Error(), []string{"generic service panicked: cannot use https://example.com/…"}, []string{"hunter2"})
	}
}

func TestScrubberRemovesSecrets(t *testing.T) {
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
		{
			"links in answers", "generic://example.com/",
			`see https://a.example/b"c'd?sig=s3cr3t", "//e.example/f?sig=s3cr3t" and https://a.example:` + strings.Repeat("1", 1<<17),
			`see https://a.example/…", "//e.example/f… and https://a.example:` + strings.Repeat("1", 136) + "…",
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

func TestMailIsSentOnceTheServerAcceptsIt(t *testing.T) {
	for _, refused := range []string{"", "MAIL", "RCPT", "DATA", ".", "close"} {
		t.Run("refused "+refused, func(t *testing.T) {
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
				mail <- receiveMail(conn, refused)
			}()
			n, name := newTestChat(t, fmt.Sprintf("smtp://%s/?from=bot@example.com&to=ann@example.com", listener.Addr()), nil)
			m := testMessage()
			m.Job.ID = "vid_1\r\nBcc: eve@example.com"
			if _, err := n.Send(context.Background(), name, m); (err != nil) != (refused != "") {
				t.Fatal(err)
			}
			if refused == "" {
				wantText(t, <-mail,
					[]string{"Subject: =?utf-8?q?Video_completed:_vid=5F1_Bcc:", "To: ann@example.com\n", "\nModel: kling-v1.5\n"},
					[]string{"\nBcc:", "s3cr3t"})
			}
		})
	}
}

// receiveMail speaks SMTP to one client and returns the mail that it sent. It refuses
// one command, or closes the connection instead of keeping the mail.
func receiveMail(conn net.Conn, refused string) string {
	lines := bufio.NewScanner(conn)
	say := func(reply string) { _, _ = io.WriteString(conn, reply+"\r\n") }
	var mail strings.Builder
	inData := false
	say("220 mail.example.com")
	for lines.Scan() {
		line := lines.Text()
		switch {
		case inData && line == "." && refused == "close":
			return ""
		case inData && line != ".":
			mail.WriteString(line + "\n")
		case refused != "" && strings.HasPrefix(line, refused):
			inData = false
			say("550 no")
		case line == "DATA":
			inData = true
			say("354 go on")
		case line == "QUIT":
			say("221 bye")
			return mail.String()
		default:
			inData = false
			say("250 fine")
		}
	}
	return mail.String()
}
