package store

import (
	"strings"
	"testing"

	"github.com/klinghook/klinghook/tasks"
)

func TestCauseOmitsDetailsOfTheTask(t *testing.T) {
	tests := []struct{ name, text, want string }{
		{"gone", "download video of vid_1: fetch vid_1/video.mp4 from cdn.example: cdn.example answered 404 Not Found",
			"download video of <id>: fetch <file> from cdn.example: cdn.example answered 404 Not Found"},
		{"short file", "download video-2 of vid_1: fetch vid_1/video-2.mp4 from p16.cdn.example: given up after 1048576 bytes: the server sent 300 of 400 bytes",
			"download <id> of <id>: fetch <file> from <id>.cdn.example: given up after <n> bytes: the server sent <n> of <n> bytes"},
		{"wrong content", `fetch vid_1/video.mp4 from cdn.example: it is "text/html; charset=\"x\"", not a video`, `fetch <file> from cdn.example: it is "…", not a video`},
		{"refused connection", "fetch a.jpg from cdn.example: dial tcp 10.1.2.3:443: connect: connection refused", "fetch <file> from cdn.example: dial tcp <address>: connect: connection refused"},
		{"IPv6", "dial tcp [2001:db8::1]:443: i/o timeout", "dial tcp <address>: i/o timeout"},
		{"slow", "the server stalled: only 12 bytes in 1m30s", "the server stalled: only <n> bytes in <time>"},
		{"link", "notify shop: Post https://a.example/b?c=1: the endpoint answered 500 Internal Server Error", "notify shop: Post <link>: the endpoint answered 500 Internal Server Error"},
		{"destination", "notify forward-hooks.example-6f98d50b: the endpoint answered 410 Gone after 3 tries",
			"notify forward-hooks.example-6f98d50b: the endpoint answered 410 Gone after <n> tries"},
		{"Kling", "ask Kling: Kling answered 429 Too Many Requests (code 1302, request 0f3b-77aa)", "ask Kling: Kling answered 429 Too Many Requests (code 1302, request <id>)"},
		{"event", `record event klingai:evt_9: unknown protocol "x"`, `record event <id>: unknown protocol "…"`},
		{"panic", "panic: index out of range [5] with length 3\ngoroutine 7", "panic: index out of range [<n>] with length <n>"},
		{"long", strings.Repeat("é", 150), strings.Repeat("é", 100) + "…"},
		{"NUL", "a\x00b", "ab"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			letter := DeadLetter{Job: tasks.KlingJob("vid_1"), EventID: "klingai:evt_9", Error: tt.text}
			if got := causeOf(letter); got != tt.want {
				t.Errorf("cause %q, want %q", got, tt.want)
			}
		})
	}
}
