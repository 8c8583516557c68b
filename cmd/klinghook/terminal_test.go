package main

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/klinghook/klinghook/internal/testenv"
	"github.com/klinghook/klinghook/internal/testenv/script"
)

const (
	colours = `\x1b\[[0-9;]*m`
	escape  = "\x1b"
)

// slowFile serves a video of 256 KiB. It sends the second half when release is called.
func slowFile(t *testing.T) (server *httptest.Server, release func()) {
	t.Helper()
	half := bytes.Repeat([]byte{'x'}, 128<<10)
	head := append([]byte("\x00\x00\x00\x18ftypmp42\x00\x00\x00\x00mp42isom"), half...)[:len(half)]
	held := make(chan struct{})
	release = sync.OnceFunc(func() { close(held) })
	server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/gone.mp4" {
			http.Error(w, "gone", http.StatusServiceUnavailable)
			return
		}
		w.Header().Set("Content-Length", "262144")
		_, _ = w.Write(head)
		_ = http.NewResponseController(w).Flush()
		select {
		case <-held:
			_, _ = w.Write(half)
		case <-r.Context().Done():
		}
	}))
	t.Cleanup(func() {
		release()
		server.Close()
	})
	return server, release
}

// devVariables are the settings of a dev with free ports and its own data directory, which
// may download from the server.
func devVariables(t *testing.T, server *httptest.Server) []string {
	t.Helper()
	return []string{
		"KLINGHOOK_ADDR=127.0.0.1:0", "KLINGHOOK_ADMIN_ADDR=127.0.0.1:0", "KLINGHOOK_DATA=" + t.TempDir(),
		"KLINGHOOK_MEDIA_ALLOW=" + server.Listener.Addr().String(),
	}
}

// klinghook runs a command to its end and returns what it printed.
func klinghook(t *testing.T, variables []string, args ...string) (output string, err error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "klinghook", args...)
	cmd.Env = append(os.Environ(), variables...)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func mustKlinghook(t *testing.T, variables []string, args ...string) {
	t.Helper()
	if out, err := klinghook(t, variables, args...); err != nil {
		t.Fatalf("klinghook %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// interrupt ends a command as Ctrl-C does.
func interrupt(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	testenv.NoError(t, cmd.Process.Signal(os.Interrupt))
	if err := cmd.Wait(); err != nil {
		t.Errorf("%s: %v", cmd, err)
	}
}

// TestDevNarrates follows on a terminal: a job whose video is downloaded, with a bar, a job
// whose video is not, a failed job, and a delivery with another secret.
func TestDevNarrates(t *testing.T) {
	for name, noColor := range map[string]string{"coloured": "", "NO_COLOR": "1"} {
		t.Run(name, func(t *testing.T) {
			server, release := slowFile(t)
			variables := devVariables(t, server)
			tty := script.OpenTerminal(t)
			cmd := tty.Start(t, append(variables, "NO_COLOR="+noColor), "klinghook", "dev")
			tty.Wait(t, "Each step is printed below")

			mustKlinghook(t, variables, "send", "--job-id", "vid_1", "--video-url", server.URL+"/v.mp4?sig=hush")
			tty.Wait(t, `vid_1  video  .*\[=.*\]  128 KiB of 256 KiB`)
			// These lines are printed above the bar.
			mustKlinghook(t, variables, "send", "--fail", "--job-id", "vid_2")
			tty.Wait(t, `vid_2 .*video\.failed in `)
			mustKlinghook(t, variables, "send", "--job-id", "vid_3", "--video-url", server.URL+"/gone.mp4?sig=hush")
			tty.Wait(t, `vid_3 .*next attempt in `)
			if out, err := klinghook(t, append(variables, "KLINGAI_WEBHOOK_SECRET=hush"), "send"); err == nil {
				t.Errorf("a delivery with another secret was accepted:\n%s", out)
			}
			tty.Wait(t, `secrets tried: 1`)
			release()
			tty.Wait(t, `vid_1 .*video, 256 KiB in `)
			interrupt(t, cmd)
			checkNarration(t, tty, noColor == "")
		})
	}
}

func checkNarration(t *testing.T, tty *script.Terminal, coloured bool) {
	t.Helper()
	shown := tty.Shown()
	_, narration, _ := strings.Cut(shown, "shows the log instead.\n\n")
	narration, _, _ = strings.Cut(narration, "\n\nStopping")
	const took = `[\d.]+(µs|ms|s)`
	for _, want := range []string{
		`vid_1 +received     video\.completed, answered in ` + took,
		`vid_1 +recorded     video\.completed in ` + took,
		`vid_1 +downloading  video from 127\.0\.0\.1`,
		`vid_1 +stored       video, 256 KiB in ` + took + `: /.*/media/vid_1/video\.mp4`,
		`vid_2 +recorded     video\.failed in ` + took + `: the prompt was refused by the content check`,
		`vid_3 +failed       downloading video, attempt 1 of 30: .*503.*; next attempt in ` + took,
		`klingai +refused      a delivery with 401: signature does not match; secrets tried: 1; body of \d+ bytes; .*`,
	} {
		if n := len(regexp.MustCompile(`(?m)^\d\d:\d\d:\d\d  `+want+`$`).FindAllString(narration, -1)); n != 1 {
			t.Errorf("%d lines match %s", n, want)
		}
	}
	line := regexp.MustCompile(`^\d\d:\d\d:\d\d  (vid_\d|klingai) +(received|recorded|downloading|stored|failed|refused) +\S.*$`)
	for _, got := range strings.Split(narration, "\n") {
		if !line.MatchString(got) {
			t.Errorf("not a complete line of the narration: %q", got)
		}
	}
	if strings.Contains(shown, "hush") {
		t.Error("a secret was shown")
	}
	if got := regexp.MustCompile(colours).MatchString(tty.Raw()); got != coloured {
		t.Errorf("coloured: %t, want %t", got, coloured)
	}
	if t.Failed() {
		t.Logf("the terminal shows\n%s", shown)
	}
}

// TestDevLogs checks that dev logs instead of narrating if the settings ask for it.
func TestDevLogs(t *testing.T) {
	for name, flags := range map[string][]string{"debug": {"--log-level", "debug"}, "json": {"--log-format", "json"}, "console": {"--log-format", "console"}} {
		t.Run(name, func(t *testing.T) {
			server, release := slowFile(t)
			release()
			variables := devVariables(t, server)
			tty := script.OpenTerminal(t)
			cmd := tty.Start(t, variables, "klinghook", append([]string{"dev"}, flags...)...)
			tty.Wait(t, "klinghook dev is running")
			mustKlinghook(t, variables, "send", "--job-id", "vid_1", "--video-url", server.URL+"/v.mp4")
			tty.Wait(t, `delivery accepted`)
			tty.Wait(t, `task done.*media:download`)
			interrupt(t, cmd)
			if got := tty.Shown(); strings.Contains(got, "answered in") || strings.Contains(got, "Each step is printed below") {
				t.Errorf("it narrates:\n%s", got)
			}
			if name == "json" && strings.Contains(tty.Raw(), escape) {
				t.Errorf("an escape sequence is in %q", tty.Raw())
			}
		})
	}
}

// TestSendShowsABar uses a receiver that answers the second half of the deliveries only
// after the bar was seen.
func TestSendShowsABar(t *testing.T) {
	variables := []string{"KLINGAI_WEBHOOK_SECRET=s", "KLINGHOOK_DATA=" + t.TempDir()}
	var came atomic.Int32
	held := make(chan struct{})
	release := sync.OnceFunc(func() { close(held) })
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if came.Add(1) > 50 {
			select {
			case <-held:
			case <-r.Context().Done():
			}
		}
		_, _ = io.WriteString(w, `{"received": true}`)
	}))
	defer receiver.Close()
	defer release()
	tty := script.OpenTerminal(t)
	cmd := tty.Start(t, variables, "klinghook", "send", "--count", "100", "--url", receiver.URL)
	tty.Wait(t, `sent  \[=+>-+\]  50 of 100`)
	release()
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	tty.Wait(t, `100 × 200 OK`)
	if got := tty.Shown(); !regexp.MustCompile(`^sent 100 to http://\S+ in \S+: 100 × 200 OK\n$`).MatchString(got) {
		t.Errorf("the terminal shows\n%s", got)
	}
	if out, err := klinghook(t, variables, "send", "--count", "100", "--url", receiver.URL); err != nil || strings.Contains(out, escape) {
		t.Errorf("without a terminal it prints %q, %v", out, err)
	}
}
