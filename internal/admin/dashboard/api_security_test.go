package dashboard_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/klinghook/klinghook/internal/admin/dashboard"
	"github.com/klinghook/klinghook/internal/store"
	"github.com/klinghook/klinghook/internal/testenv"
	"github.com/klinghook/klinghook/tasks"
)

// openAPI returns the operations of the API's description: "GET /jobs".
func openAPI(s *apiServer) (operations []string) {
	s.t.Helper()
	description := read[struct {
		Paths map[string]map[string]json.RawMessage
	}](s, "/api/v1/openapi.json")
	for path, methods := range description.Paths {
		for method := range methods {
			operations = append(operations, strings.ToUpper(method)+" "+path)
		}
	}
	if len(operations) < 15 {
		s.t.Fatalf("the API has only %q", operations)
	}
	return operations
}

func TestOnlyOperatorsCanChangeAnything(t *testing.T) {
	s := newAPIServer(t)
	s.record("vid_1", tasks.StatusCompleted)
	s.keep("vid_1", "video/mp4", "0123456789")
	letter := s.bury("vid_1", "404")
	paths := []string{"PUT /jobs/vid_1"} // the former path
	for _, operation := range openAPI(s) {
		method, path, _ := strings.Cut(operation, " ")
		path = strings.ReplaceAll(path, "/jobs/{id}", "/jobs/vid_1")
		path = strings.NewReplacer("/deadletters/{id}", fmt.Sprint("/deadletters/", letter), "{name}", "video", "{id}", "klingai:vid_1-completed").Replace(path)
		paths = append(paths, method+" /api/v1"+path)
	}
	for _, operation := range paths {
		method, path, _ := strings.Cut(operation, " ")
		for _, tt := range []struct {
			name    string
			headers []string
			want    int
		}{
			{"nobody", []string{"Authorization", ""}, http.StatusUnauthorized},
			{"wrong token", []string{"Authorization", "Bearer " + operatorToken + "x"}, http.StatusUnauthorized},
			{"viewer", []string{"Authorization", "Bearer " + viewerToken}, http.StatusForbidden},
			{"another site", []string{"Origin", "https://evil.example", "Sec-Fetch-Site", "cross-site"}, http.StatusForbidden},
			{"another port of this host", []string{"Origin", "http://127.0.0.1:1", "Sec-Fetch-Site", "same-site"}, http.StatusForbidden},
			{"a name that leads here", []string{"Host", "evil.example"}, http.StatusForbidden},
		} {
			if method == http.MethodGet && tt.want != http.StatusUnauthorized {
				continue
			}
			body := ""
			if strings.Contains(path, "deadletters") {
				body = `{"all": true}`
			}
			res, text := s.send(method, path, body, tt.headers...)
			if res.StatusCode != tt.want {
				t.Errorf("%s: %s answers %d %s, want %d", tt.name, operation, res.StatusCode, text, tt.want)
			}
		}
	}
	if job, err := s.db.Job(t.Context(), tasks.KlingJob("vid_1")); err != nil || job.Status != tasks.StatusCompleted {
		t.Errorf("the job is %+v, %v", job, err)
	}
	if open, err := s.db.DeadLetters(t.Context(), store.DeadLetterFilter{}); err != nil || len(open) != 1 {
		t.Errorf("%d dead letters are open, %v", len(open), err)
	}
	if did := s.worker.taken(); did != "" {
		t.Errorf("the worker did %s", did)
	}
	res, text := s.send("GET", "/api/v1/events/klingai:vid_1-completed/body", "", "Authorization", "Bearer "+viewerToken)
	if res.StatusCode != http.StatusForbidden || strings.Contains(text, "hunter2") {
		t.Errorf("a viewer gets %d %s, want no raw body", res.StatusCode, text)
	}
	if res, text = s.send("GET", "/api/v1/jobs/vid_1", "", "Authorization", "Bearer "+viewerToken); res.StatusCode != http.StatusOK || strings.Contains(text, "hunter2") {
		t.Errorf("a viewer gets %d %s, want the job without secrets", res.StatusCode, text)
	}
}

func TestMediaIsSentInRangesAndCannotRunScripts(t *testing.T) {
	s := newAPIServer(t)
	const page = "<script>alert(1)</script>"
	for id, contentType := range map[string]string{"vid_1": "video/mp4", "page": "text/html", "drawing": "image/svg+xml"} {
		s.record(id, tasks.StatusCompleted)
		s.keep(id, contentType, page)
	}
	s.bucket.put("secret", []byte("hunter2"))
	for _, tt := range []struct {
		path, ranges string
		want         int
		body, header string
	}{
		{"/jobs/vid_1/media/video", "", 200, page, "video/mp4"},
		{"/jobs/vid_1/media/video", "bytes=1-6", 206, "script", "video/mp4"},
		{"/jobs/vid_1/media/video", "bytes=99-", 416, "", "application/problem+json"},
		{"/jobs/page/media/video", "", 200, page, "application/octet-stream"},
		{"/jobs/drawing/media/video", "", 200, page, "application/octet-stream"},
		{"/jobs/vid_1/media/thumbnail", "", 404, "", "application/problem+json"},
		{"/jobs/vid_1/media/..%2F..%2Fsecret", "", 404, "", "application/problem+json"},
		{"/jobs/vid_1/media/%2e%2e", "", 404, "", "application/problem+json"},
		{"/jobs/..%2F..%2F/media/secret", "", 404, "", "application/problem+json"},
		{"/jobs/vid_1/media/%00", "", 404, "", "application/problem+json"},
	} {
		for _, root := range []string{"/api/v1", ""} { // a page's files have the same protection
			res, text := s.send("GET", root+tt.path, "", "Range", tt.ranges)
			if res.StatusCode != tt.want || tt.body != "" && text != tt.body || strings.Contains(text, "hunter2") {
				t.Errorf("%s %s %q answers %d %q, want %d %q", root, tt.path, tt.ranges, res.StatusCode, text, tt.want, tt.body)
			}
			header := res.Header
			if tt.header != "" && root != "" && header.Get("Content-Type") != tt.header || header.Get("X-Content-Type-Options") != "nosniff" ||
				tt.want < 300 && !strings.HasSuffix(header.Get("Content-Security-Policy"), "sandbox") ||
				(header.Get("Content-Disposition") == "attachment") != (tt.header == "application/octet-stream") {
				t.Errorf("%s %s answers with %v", root, tt.path, header)
			}
		}
	}
	s.bucket.objects.Delete("vid_1/video.mp4")
	if res, text := s.send("GET", "/api/v1/jobs/vid_1/media/video", ""); res.StatusCode != http.StatusNotFound || !strings.Contains(text, "no longer in the bucket") {
		t.Errorf("a lost object answers %d %s", res.StatusCode, text)
	}
}

func TestMediaOfABucketThatSignsLinksIsRedirected(t *testing.T) {
	s := newAPIServer(t, func(cfg *dashboard.Config) { cfg.LinkLifetime = 1 })
	s.record("vid_1", tasks.StatusCompleted)
	s.keep("vid_1", "video/mp4", "0123456789")
	s.bucket.put("link of vid_1/video.mp4", []byte("https://bucket.example/vid_1/video.mp4?signature=x"))
	res, text := s.send("GET", "/api/v1/jobs/vid_1/media/video", "")
	if res.StatusCode != http.StatusTemporaryRedirect || res.Header.Get("Location") != "https://bucket.example/vid_1/video.mp4?signature=x" || res.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("answers %d %v %s", res.StatusCode, res.Header, text)
	}
	// Pages load nothing from other hosts.
	if res, text = s.send("GET", "/jobs/vid_1/media/video", ""); res.StatusCode != http.StatusOK || text != "0123456789" {
		t.Errorf("the page's file is %d %q", res.StatusCode, text)
	}
}

func TestRefusedDeliveriesAreListedWithoutSecrets(t *testing.T) {
	s := newAPIServer(t)
	testenv.NoError(t, s.db.KeepRejection(t.Context(), tasks.Rejection{
		ID: "r1", ReceivedAt: time.Now(), Source: "klingai", Reason: "invalid_signature", Headers: map[string]string{"X-Api-Key": "hunter2", "X-Kling-Signature": "(71 bytes)"},
		Body: []byte(`{"signature": "hunter2", "url": "https://cdn.example/a.mp4?sig=hunter2", "cut of`),
	}))
	res, text := s.send("GET", "/api/v1/rejections", "")
	if res.StatusCode != http.StatusOK || strings.Contains(text, "hunter2") || !strings.Contains(text, "(71 bytes)") || !strings.Contains(text, "cdn.example/a.mp4") {
		t.Errorf("answers %d %s", res.StatusCode, text)
	}
}
