package dashboard_test

import (
	"encoding/json"
	"flag"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/klinghook/klinghook/internal/admin/dashboard"
	"github.com/klinghook/klinghook/internal/testenv"
)

var update = flag.Bool("update", false, "write docs/openapi.json")

const openAPIFile = "../../../docs/openapi.json"

func TestOpenAPIFileIsCurrent(t *testing.T) {
	s := newAPIServer(t, func(cfg *dashboard.Config) { cfg.Prefix = "" })
	res, text := s.send("GET", "/api/v1/openapi.json", "")
	if res.StatusCode != http.StatusOK || res.Header.Get("Content-Type") != "application/openapi+json" {
		t.Fatalf("answers %d %v", res.StatusCode, res.Header)
	}
	if *update {
		testenv.NoError(t, os.WriteFile(openAPIFile, []byte(text), 0o600))
	}
	kept, err := os.ReadFile(openAPIFile)
	testenv.NoError(t, err)
	if diff := cmp.Diff(string(kept), text); diff != "" {
		t.Errorf("docs/openapi.json is not current; run go test ./internal/admin/dashboard -run OpenAPI -update (-file +API):\n%s", diff)
	}
	if !json.Valid([]byte(text)) || !strings.Contains(text, `"openapi": "3.1.0"`) || !strings.Contains(text, `"url": "/api/v1"`) {
		t.Error("it is not OpenAPI 3.1 of the API below /api/v1")
	}
}

func TestDocsPageDescribesEveryOperation(t *testing.T) {
	s := newAPIServer(t)
	res, text := s.send("GET", "/api/v1/docs", "", "Accept", "text/html")
	if res.StatusCode != http.StatusOK || !strings.Contains(res.Header.Get("Content-Security-Policy"), "default-src 'none'") {
		t.Fatalf("answers %d %v", res.StatusCode, res.Header)
	}
	for _, operation := range openAPI(s) {
		method, path, _ := strings.Cut(operation, " ")
		if !strings.Contains(text, "<strong>"+method+"</strong> "+path+"</code>") {
			t.Errorf("the page lacks %s", operation)
		}
	}
	for _, unwanted := range []string{"<script>", "src=\"http", "unpkg"} {
		if strings.Contains(text, unwanted) {
			t.Errorf("the page has %s", unwanted)
		}
	}
	for _, want := range []string{"last_received_at", "created | processing | completed", "/k/api/v1/openapi.json"} {
		if !strings.Contains(text, want) {
			t.Errorf("the page lacks %s", want)
		}
	}
}
