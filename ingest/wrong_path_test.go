package ingest_test

import (
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/klinghook/klinghook/tasks"
)

func TestDeliveryToAWrongPathIsReportedWithoutThePath(t *testing.T) {
	const (
		seed     = "; send deliveries with POST to /webhooks/klingai"
		official = seed + "/official"
		all      = seed + " or /webhooks/klingai/official or /webhooks/klingai/t/{token}"
	)
	signed := map[string]string{"X-Kling-Signature": "sha256=hush"}
	json := map[string]string{"Content-Type": "application/json; charset=utf-8"}
	tests := []struct {
		name, method, path string
		header             map[string]string
		status             int
		message            string
		shown              map[string]string // nil if it does not look like a delivery
	}{
		{"signed", "POST", "/", signed, 404, "not found" + seed, map[string]string{"X-Kling-Signature": "(11 bytes)"}},
		{"signed, another method", "PUT", path, signed, 405, "method not allowed" + seed, map[string]string{"X-Kling-Signature": "(11 bytes)"}},
		{"official", "POST", path + "/oficial", map[string]string{"Webhook-Id": "1"}, 404, "not found" + official, map[string]string{"Webhook-Id": "1"}},
		{"JSON", "POST", "/webhook/klingai/t/" + callbackToken, json, 404, "not found" + all, json},
		{"JSON to the health check", "POST", "/healthz", json, 405, "method not allowed" + all, json},
		{"JSON, another method", "PUT", "/", json, 404, "not found", nil},
		{"a form", "POST", "/", map[string]string{"Content-Type": "application/x-www-form-urlencoded"}, 404, "not found", nil},
		{"a page", "GET", path, nil, 405, "method not allowed", nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f, took := newSampled(t)
			r := httptest.NewRequest(tt.method, tt.path, strings.NewReader("{}"))
			r.Header.Set("X-Original-Uri", "/proxy"+tt.path)
			for name, value := range tt.header {
				r.Header.Set(name, value)
			}
			w := f.do(r)
			if want := fmt.Sprintf(`{"error": %q}`, tt.message); w.Code != tt.status || w.Body.String() != want {
				t.Errorf("answered %d %s, want %d %s", w.Code, w.Body, tt.status, want)
			}
			reported := 0
			if tt.shown != nil {
				reported = 1
				task := <-took
				got, err := tasks.DecodeRejection(task.Payload)
				if err != nil || got.Source != "unknown" || got.Reason != "wrong_path" || !cmp.Equal(got.Headers, tt.shown) || strings.Contains(string(task.Payload), callbackToken) {
					t.Errorf("sample %s, %v", task.Payload, err)
				}
			}
			lines := f.logs.FilterMessage("delivery refused").All()
			if len(lines) != reported || strings.Contains(fmt.Sprint(lines), callbackToken) {
				t.Errorf("logged %v", lines)
			}
			if n := f.counted(t)["unknown wrong_path"]; int(n) != reported {
				t.Errorf("counted %v, want %d", n, reported)
			}
		})
	}
}
