package ingest

import (
	"errors"
	"mime"
	"net/http"
	"slices"
	"strings"

	"github.com/klinghook/klinghook/internal/source"
)

// unknownSource is the source of deliveries to a wrong path.
const unknownSource = "unknown"

// shownHeaders are the headers in a sample of such a delivery. Others may repeat the path,
// and a wrong path may still contain a valid token.
var shownHeaders = []string{"Content-Type", "User-Agent", "X-Forwarded-For"}

// wrongPath reports a request with a wrong path or method if it looks like a delivery:
// it has a signature, or posts JSON. It returns advice for the sender.
func (s *Server) wrongPath(r *http.Request, status int) (advice string) {
	var all, signed []string
	shown := shownHeaders
	for _, endpoint := range s.cfg.Endpoints {
		path := strings.Replace(endpoint.Protocol.Path, ":token", "{token}", 1)
		all = append(all, path)
		if slices.ContainsFunc(endpoint.Protocol.Headers, func(name string) bool { return r.Header.Get(name) != "" }) {
			signed = append(signed, path)
		}
		shown = slices.Concat(shown, endpoint.Protocol.Headers)
	}
	switch {
	case len(signed) > 0:
		all = signed
	case r.Method != http.MethodPost || !isJSON(r.Header):
		return ""
	}
	advice = "send deliveries with POST to " + strings.Join(all, " or ")
	refused := &refusal{status, advice, outcomeWrongPath, errors.New("wrong path or method; " + advice)}
	s.metrics.deliveries.WithLabelValues(unknownSource, outcomeWrongPath).Inc()
	s.report(Delivery{Source: unknownSource, Status: status, Outcome: refused.outcome, Reason: refused.reason, Peer: r.RemoteAddr})
	sample := &http.Request{Header: http.Header{}, RemoteAddr: r.RemoteAddr}
	for _, name := range shown {
		if values := r.Header.Values(name); len(values) > 0 {
			sample.Header[name] = values
		}
	}
	s.sampler.offer(sample, Endpoint{Protocol: source.Protocol{Name: unknownSource}}, nil, refused, s.cfg.Now())
	return advice
}

func isJSON(header http.Header) bool {
	mediaType, _, err := mime.ParseMediaType(header.Get("Content-Type"))
	return err == nil && (mediaType == "application/json" || strings.HasSuffix(mediaType, "+json"))
}
