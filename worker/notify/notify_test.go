package notify

import (
	"context"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/klinghook/klinghook/tasks"
)

const testSecret = "whsec_dGVzdHNlY3JldHRlc3RzZWNyZXR0ZXN0c2VjcmV0MTI="

func TestMain(m *testing.M) {
	GuardDefaultClient()
	goleak.VerifyTestMain(m)
}

// testMessage has every field set.
func testMessage() Message {
	at := time.Date(2025, 1, 15, 10, 30, 0, 0, time.UTC)
	return Message{
		ID:      "klingai-0a1b2c:video.completed",
		Type:    tasks.TypeCompleted,
		At:      at,
		EventID: "klingai:0a1b2c",
		Job: JobDetails{
			Platform:     tasks.PlatformKling,
			ID:           "vid_abc123",
			Status:       tasks.StatusCompleted,
			Progress:     100,
			Prompt:       "A fox & a <crane> at dawn",
			Model:        "kling-v1.5",
			Duration:     Seconds(5100 * time.Millisecond),
			Error:        "left by an earlier failure",
			ExternalID:   "order-7",
			Source:       "klingai",
			CreatedAt:    at.Add(-5 * time.Minute),
			FinishedAt:   at.Add(-250 * time.Millisecond),
			Contradicted: true,
		},
		Media: []MediaDetails{
			{
				Name: "video", State: "stored", Object: "vid_abc123/video.mp4", URL: "https://cdn.example.com/v.mp4?sig=s3cr3t",
				Size: 12_345_678, SHA256: strings.Repeat("ab", 32), ContentType: "video/mp4",
				DownloadURL: "https://bucket.example.com/video.mp4?sig=s3cr3t", DownloadURLExpiresAt: at.Add(24 * time.Hour),
			},
			{Name: "thumbnail", State: "pending", URL: "https://cdn.example.com/t.jpg?sig=s3cr3t"},
		},
	}
}

func TestNewNamesDestinations(t *testing.T) {
	slack := "slack://hook:T00000000-B00000000-XXXXXXXXXXXXXXXXXXXXXXXX@webhook"
	tests := []struct {
		name string
		cfg  Config
		want []string // patterns of names
	}{
		{"none", Config{}, nil},
		{"chat", Config{ChatURLs: []string{slack}}, []string{"slack-[0-9a-f]{8}"}},
		{"custom form", Config{ChatURLs: []string{"generic+https://example.com/hook"}}, []string{"generic-[0-9a-f]{8}"}},
		{"upper case", Config{ChatURLs: []string{"GENERIC://example.com/hook"}}, []string{"generic-[0-9a-f]{8}"}},
		{"twice", Config{ChatURLs: []string{slack, " " + slack}}, []string{"slack-[0-9a-f]{8}"}},
		{
			"chat before forwards",
			Config{
				ChatURLs:      []string{"generic://a.example/1", "generic://a.example/2"},
				ForwardURLs:   []string{"https://Hooks.example:8443/x?key=1", "http://[::1]:9000/"},
				ForwardSecret: testSecret,
			},
			[]string{"generic-[0-9a-f]{8}", "generic-[0-9a-f]{8}", `forward-hooks\.example-[0-9a-f]{8}`, "forward-~3a~3a1-[0-9a-f]{8}"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			n, err := New(tt.cfg)
			if err != nil {
				t.Fatal(err)
			}
			names := n.Names()
			if len(names) != len(tt.want) {
				t.Fatalf("names = %q, want %d", names, len(tt.want))
			}
			for i, pattern := range tt.want {
				if !regexp.MustCompile("^" + pattern + "$").MatchString(names[i]) {
					t.Errorf("name %d = %q, want %s", i, names[i], pattern)
				}
			}
			again, err := New(tt.cfg)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(names, again.Names()); diff != "" {
				t.Errorf("names are not stable:\n%s", diff)
			}
		})
	}
}

func TestNewReportsEveryBadURL(t *testing.T) {
	tests := []struct {
		name   string
		cfg    Config
		want   []string
		hidden []string
	}{
		{
			"every bad URL by its position",
			Config{
				ChatURLs:    []string{"generic://ok.example/", "xoxb-1234567890", "smtp://bob:hunter2@mail.example.com/?to=a@example.com"},
				ForwardURLs: []string{"hooks.example/path?token=hunter3", "ftp://hooks.example/", "https://ok.example/"},
			},
			[]string{
				"notify URL 2: has an unknown service", "discord", "notify URL 3: is not a smtp URL", "fromAddress missing",
				"forward secret: is needed", "forward URL 1: is not an absolute http or https URL", "forward URL 2: is not an absolute",
			},
			[]string{"xoxb", "hunter", "bob", "ok.example", "URL 4"},
		},
		{
			"not a URL",
			Config{ChatURLs: []string{"slack://%zz@hunter2"}, ForwardURLs: []string{"https://u:hunter2@a b/"}, ForwardSecret: testSecret},
			[]string{"notify URL 1: cannot be read", "forward URL 1: cannot be read"},
			[]string{"hunter2", "%zz"},
		},
		{
			"a query that cannot be read",
			Config{ChatURLs: []string{"generic://example.com/?a=1;token=hunter2"}},
			[]string{"notify URL 1: has a query that cannot be read"},
			[]string{"hunter2"},
		},
		{
			"a bad token",
			Config{ChatURLs: []string{"slack://hook:T0000-hunter2@webhook", "discord://hunter2@"}},
			[]string{"notify URL 1: is not a slack URL", "notify URL 2: is not a discord URL"},
			[]string{"hunter2", "T0000"},
		},
		{
			"a form that the service does not take",
			Config{ChatURLs: []string{"smtp+https://mail.example.com/"}},
			[]string{"notify URL 1: is not a smtp URL", "does not have the form smtp+…"},
			nil,
		},
		{
			"an empty secret",
			Config{ForwardURLs: []string{"https://ok.example/"}, ForwardSecret: "whsec_"},
			[]string{"forward secret: is needed", "whsec_"},
			nil,
		},
		{
			"a secret that is not base64",
			Config{ForwardURLs: []string{"https://ok.example/"}, ForwardSecret: "whsec_hunter2!"},
			[]string{"forward secret: is not"},
			[]string{"hunter2"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := New(tt.cfg)
			if err == nil {
				t.Fatal("no error")
			}
			wantText(t, err.Error(), tt.want, tt.hidden)
		})
	}
}

// wantText checks that a text contains all of want and none of hidden.
func wantText(t *testing.T, text string, want, hidden []string) {
	t.Helper()
	for _, w := range want {
		if !strings.Contains(text, w) {
			t.Errorf("%q does not say %q", text, w)
		}
	}
	for _, h := range hidden {
		if strings.Contains(text, h) {
			t.Errorf("%q shows %q", text, h)
		}
	}
}

// as returns a destination by its name, as its type.
func as[D destination](t *testing.T, n *Notifier, name string) D {
	t.Helper()
	d, ok := n.outlets[name].destination.(D)
	if !ok {
		t.Fatalf("%s is a %T", name, n.outlets[name].destination)
	}
	return d
}

func TestMessageThatCannotBeSentIsPermanentError(t *testing.T) {
	n, name := newTestForward(t, "http://127.0.0.1:1/")
	nameless, late := testMessage(), testMessage()
	nameless.ID, late.At = "", time.Date(10_000, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		destination string
		m           Message
		want        string
	}{
		{name, nameless, "no id to sign"},
		{name, late, "year outside of range"},
		{"slack-00000000", testMessage(), "notify slack-00000000: this destination is no longer configured"},
	} {
		if _, err := n.Send(context.Background(), tt.destination, tt.m); !tasks.IsPermanent(err) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("err = %v, want a permanent one with %q", err, tt.want)
		}
	}
}

func TestNamedDestinationsHaveTheirOwnLimits(t *testing.T) {
	n, err := New(Config{
		ForwardURLs: []string{"https://a.example/"}, ForwardSecret: testSecret, Events: []string{tasks.TypeCompleted, tasks.TypeFailed}, Rate: 1,
		Named: []Destination{
			{Name: "shop", URL: "https://a.example/", Secret: testSecret, Events: []string{tasks.TypeFailed}, Rate: 1000},
			{Name: "team", URL: "generic://a.example/hook"},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	unnamed := n.Names()[0]
	for event, want := range map[string][]string{
		tasks.TypeCompleted: {unnamed, "team"}, tasks.TypeFailed: {unnamed, "shop", "team"}, tasks.TypeLost: {},
	} {
		if diff := cmp.Diff(want, n.NamesFor(event)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", event, diff)
		}
	}
	for name, want := range map[string]bool{unnamed: true, "shop": false, "team": true} {
		n.Turn(name)
		if waits := n.Turn(name) > 0; waits != want {
			t.Errorf("%s is at its limit after one message: %t, want %t", name, waits, want)
		}
	}
}

func TestNewReportsBadNamedDestinations(t *testing.T) {
	_, err := New(Config{Named: []Destination{
		{Name: "a", URL: "https://a.example/"},
		{Name: "b", URL: "telegram://110201543:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw0@telegram?chats=@x,@y"},
		{Name: "c", URL: "generic://a.example/hook"},
		{Name: "c", URL: "generic://b.example/hook"},
	}})
	if err == nil {
		t.Fatal("no error")
	}
	wantText(t, err.Error(), []string{"destination a: secret: is needed", "destination b: has 2 recipients", "destination c: another destination has this name"}, []string{"AAHdq"})
}
