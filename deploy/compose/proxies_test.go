package compose

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestProxies runs each documented proxy in front of an ingest that hangs up on every
// delivery and one that works.
func TestProxies(t *testing.T) {
	for _, tt := range []struct {
		program, config string
		args            []string // before the file of the configuration
		replace         []string
	}{
		{"caddy", "deploy/compose/Caddyfile", []string{"run", "--adapter", "caddyfile", "--config"}, []string{
			"{$KLINGHOOK_SITE::5000}", "http://127.0.0.1:25200", ":8082", ":25202",
			"dynamic a {\n\t\t\t\tname ingest\n\t\t\t\tport 5000\n\t\t\t\trefresh 1s\n\t\t\t}", "to HANGS WORKS",
		}},
		{"nginx", "deploy/proxies/nginx.conf", []string{"-c"}, []string{
			"# nginx in", "daemon off; pid PIDFILE; events {} http {\n# nginx in", "\tlocation / {\n\t\treturn 404;\n\t}\n}", "\tlocation / {\n\t\treturn 404;\n\t}\n}}",
			"443 ssl", "127.0.0.1:25200", "ssl_certificate", "#", "127.0.0.1:5000", "HANGS", "127.0.0.1:5002", "WORKS",
			"/var/log/nginx/klinghook.log", "/dev/stderr", "/var/log/nginx/klinghook-error.log", "/dev/stderr",
		}},
		{"haproxy", "deploy/proxies/haproxy.cfg", []string{"-db", "-f"}, []string{
			":443 ssl crt /etc/haproxy/hooks.example.com.pem", "127.0.0.1:25200", "/dev/log local0", "stderr format raw local0",
			"127.0.0.1:5000", "HANGS", "127.0.0.1:5002", "WORKS",
		}},
	} {
		t.Run(tt.program, func(t *testing.T) {
			if _, err := exec.LookPath(tt.program); err != nil {
				t.Skip(err)
			}
			received := make(chan string, 10)
			ingest := func(answer bool) *httptest.Server {
				return httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
					body, _ := io.ReadAll(r.Body)
					if r.Method == http.MethodPost && !answer {
						panic(http.ErrAbortHandler)
					}
					if r.Method == http.MethodPost { // no health check
						received <- string(body) + " from " + r.Header.Get("X-Forwarded-For")
					}
				}))
			}
			works, hangs := ingest(true), ingest(false)
			defer hangs.Close()
			file := filepath.Join(t.TempDir(), "config")
			address := strings.NewReplacer("HANGS", hangs.Listener.Addr().String(), "WORKS", works.Listener.Addr().String(), "PIDFILE", file+".pid")
			text := address.Replace(strings.NewReplacer(tt.replace...).Replace(read(t, tt.config)))
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			cmd := exec.CommandContext(t.Context(), tt.program, append(slices.Clone(tt.args), file)...)
			var logs bytes.Buffer
			cmd.Stderr = &logs
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			stop := sync.OnceFunc(func() { _, _ = cmd.Process.Signal(os.Interrupt), cmd.Wait() })
			defer stop()
			post := func(target, body string) (status int, retryAfter string) {
				req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://127.0.0.1:25200"+target, strings.NewReader(body))
				if err != nil {
					t.Fatal(err)
				}
				req.Header.Set("X-Kling-Signature", "signature-1")
				req.Header.Set("Expect", "100-continue") // a refused body is not sent
				res, err := http.DefaultTransport.RoundTrip(req)
				if err != nil {
					return 0, "" // it does not listen yet
				}
				_ = res.Body.Close()
				return res.StatusCode, res.Header.Get("Retry-After")
			}
			for status := 0; status == 0; <-time.After(50 * time.Millisecond) {
				status, _ = post("/", "")
			}
			for range 4 { // the other's turn comes too
				if status, _ := post("/webhooks/klingai/t/token-1?query=query-1", "body"); status != http.StatusOK {
					t.Fatalf("a delivery is answered %d", status)
				}
				if got := <-received; got != "body from 127.0.0.1" {
					t.Errorf("ingest received %q", got)
				}
			}
			for target, want := range map[string]int{"/metrics": 404, "/webhooks/../metrics": 404, "/webhooks/%2e%2e/metrics": 404, "/webhooks/large": 413} {
				if status, _ := post(target, strings.Repeat("x", want/413*(1<<20+1))); status != want {
					t.Errorf("%s is answered %d, want %d", target, status, want)
				}
			}
			works.Close()
			if status, after := post("/webhooks/klingai/t/token-1", "body"); status < 502 || after == "" {
				t.Errorf("without ingest: %d, Retry-After %q", status, after)
			}
			stop()
			if log := logs.String(); regexp.MustCompile(`(token|query|signature)-1`).MatchString(log) || tt.program != "caddy" && !strings.Contains(log, "POST") {
				t.Errorf("want a log of deliveries without secrets:\n%s", log)
			}
		})
	}
}
