package doctor_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/klinghook/klinghook/internal/doctor"
)

// TestDelivery covers what stands in front of ingest; the script doctor.txtar has ingest.
func TestDelivery(t *testing.T) {
	for _, tt := range []struct {
		name, answer string
		code         int
		location     string
		status       doctor.Severity
		part, fix    string
	}{
		{"ingest", `{"received": true, "test": true}`, 200, "", doctor.OK, "leads to ingest", ""},
		{"another program", `{"received": true}`, 200, "", doctor.Failed, "not as ingest answers", "another program"},
		{"wrong secret", `{"error": "Invalid signature"}`, 401, "", doctor.Failed, "Invalid signature", "the same SECRET"},
		{"another program's login", `who?`, 401, "", doctor.Failed, "401", "proxy's rules"},
		{"off", `{"error": "not found"}`, 404, "", doctor.Failed, "404", "set SECRET for ingest"},
		{"redirect", ``, 301, "https://www.example.com/?hunter2", doctor.Failed, "301", "https://www.example.com"},
		{"spool full", `{"error": "send it again"}`, 503, "", doctor.Failed, "503", "bring Redis back"},
		{"no ingest", `<html>`, 502, "", doctor.Failed, "502", "check that ingest runs"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				if tt.location != "" {
					w.Header().Set("Location", tt.location)
				}
				w.WriteHeader(tt.code)
				_, _ = w.Write([]byte(tt.answer))
			}))
			defer server.Close()
			found := find(t, doctor.Delivery(deliveryTo(server.URL)))["delivery klinghook"]
			if found.Status != tt.status || !strings.Contains(found.Found, tt.part) || !strings.Contains(found.Fix, tt.fix) || strings.Contains(found.Found+found.Fix, "hunter2") {
				t.Errorf("found %+v", found)
			}
		})
	}
	server := httptest.NewServer(http.NotFoundHandler())
	server.Close()
	want(t, find(t, doctor.Delivery(deliveryTo(server.URL+"/hunter2"))), "delivery klinghook", doctor.Failed, "connection refused")
}

func deliveryTo(url string) doctor.DeliveryConfig {
	return doctor.DeliveryConfig{
		Source: "klinghook", Setting: "SECRET", Target: url, Shown: "http://shown",
		Sign: func(_ time.Time, body []byte) (http.Header, error) {
			mac := hmac.New(sha256.New, []byte("s"))
			mac.Write(body)
			return http.Header{"X-Kling-Signature": {hex.EncodeToString(mac.Sum(nil))}}, nil
		},
	}
}
