package doctor

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/klinghook/klinghook/internal/source"
)

// DeliveryConfig describes a test delivery.
type DeliveryConfig struct {
	// Source names the protocol, Setting the variable with ingest's secrets.
	Source, Setting string
	// Target is where to post, Shown the same without secrets.
	Target, Shown string
	// Sign returns the headers that sign the body.
	Sign func(at time.Time, body []byte) (http.Header, error)
}

// Delivery checks that a URL leads to ingest, which accepts the signature. The delivery is
// marked as a test: ingest keeps only when it came, for the page that says how to start.
func Delivery(cfg DeliveryConfig) Check {
	name := "delivery " + cfg.Source
	return Check{Name: name, Run: func(ctx context.Context) []Finding {
		body := source.TestDelivery(time.Now())
		header, err := cfg.Sign(time.Now(), body)
		if err != nil {
			return []Finding{failed(name, err.Error(), "correct "+cfg.Setting)}
		}
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, cfg.Target, bytes.NewReader(body))
		if err != nil {
			return []Finding{failed(name, cfg.Shown+" cannot be requested", "give --url as https://hooks.example.com")}
		}
		req.Header = header
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("User-Agent", "klinghook-doctor")
		client := newClient()
		defer client.CloseIdleConnections()
		start := time.Now()
		res, err := client.Do(req)
		if err != nil {
			return []Finding{failed(name, fmt.Sprintf("%s cannot be reached: %v", cfg.Shown, withoutURL(err)), "check its DNS entry, its certificate, the firewall, and that the proxy runs")}
		}
		defer func() { _ = res.Body.Close() }() // only read from
		answer, _ := io.ReadAll(io.LimitReader(res.Body, 4<<10))
		found, fix := cfg.judge(res, answer)
		if fix != "" {
			return []Finding{failed(name, found, fix)}
		}
		return []Finding{ok(name, "%s leads to ingest, which accepts the signature; answered in %s", cfg.Shown, time.Since(start).Round(time.Millisecond))}
	}}
}

// judge returns the problem that an answer shows and how to fix it; nothing if all is well.
func (cfg DeliveryConfig) judge(res *http.Response, body []byte) (found, fix string) {
	var answer struct {
		Test  bool   `json:"test"`
		Error string `json:"error"`
	}
	ours := json.Unmarshal(body, &answer) == nil && (answer.Test || answer.Error != "")
	found = fmt.Sprintf("%s answered %s", cfg.Shown, cmp.Or(res.Status, "nothing"))
	if answer.Error != "" {
		found += ": " + cut(answer.Error)
	}
	switch status := res.StatusCode; {
	case status == http.StatusOK && answer.Test:
		return "", ""
	case status == http.StatusOK:
		return found + ", but not as ingest answers", "let the proxy pass this path on to klinghook-ingest; another program is at this URL"
	case status == http.StatusUnauthorized && ours:
		return found, fmt.Sprintf("give ingest and this command the same %s; the proxy must not change the body", cfg.Setting)
	case status == http.StatusNotFound, status == http.StatusMethodNotAllowed:
		return found, fmt.Sprintf("let the proxy pass the path on unchanged, and set %s for ingest, which turns it on", cfg.Setting)
	case status >= 300 && status < 400:
		return found, "use the URL that it leads to, " + host(res.Header.Get("Location")) + ": senders do not follow redirects"
	case status == http.StatusServiceUnavailable && ours:
		return found, "bring Redis back, or make room for ingest's spool"
	case status >= 500:
		return found, "check that ingest runs, and its address in the proxy's configuration"
	}
	return found, "check the proxy's rules for this path"
}

// host returns the scheme and host of a URL; the rest may be secret.
func host(location string) string {
	u, err := url.Parse(location)
	if err != nil || u.Host == "" {
		return "on the same host"
	}
	return u.Scheme + "://" + u.Host
}

// cut makes a foreign text fit for one line.
func cut(text string) string {
	const most = 200
	if runes := []rune(strings.Join(strings.Fields(text), " ")); len(runes) > most {
		return string(runes[:most]) + "…"
	}
	return strings.Join(strings.Fields(text), " ")
}
