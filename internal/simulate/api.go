package simulate

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// maxBody is the longest body that is read, in bytes: images come in it.
const maxBody = 16 << 20

// answer is what a call that is not refused is answered with.
type answer struct {
	status int
	data   any
	// bare answers are not in Kling's envelope.
	bare bool
	// numbers says that the envelope's numbers drift.
	numbers bool
}

// call is one of the API's.
type call func(*http.Request) (answer, *fault)

func (s *Simulator) routes() *http.ServeMux {
	mux := http.NewServeMux()
	api := func(pattern string, f form, c call) { mux.Handle(pattern, s.api(f, c)) }
	for _, kind := range legacyKinds() {
		api("POST /v1/videos/"+kind, legacyForm, func(r *http.Request) (answer, *fault) { return s.createLegacy(r, kind) })
		api("GET /v1/videos/"+kind, legacyForm, func(r *http.Request) (answer, *fault) { return s.listLegacy(r, kind) })
		api("GET /v1/videos/"+kind+"/{id}", legacyForm, func(r *http.Request) (answer, *fault) { return s.lookUpLegacy(r, kind) })
	}
	for _, kind := range newKinds() {
		api("POST /"+kind+"/{model}", newForm, func(r *http.Request) (answer, *fault) { return s.createNew(r, kind) })
	}
	api("GET /tasks", newForm, s.lookUpNew)
	api("POST /tasks", newForm, s.listNew)
	api("POST /v1/webhooks", newForm, s.registerWebhook)
	api("GET /v1/webhooks", newForm, s.listWebhooks)
	api("DELETE /v1/webhooks/{id}", newForm, s.removeWebhook)
	api("/", legacyForm, func(*http.Request) (answer, *fault) {
		return answer{}, codeMethod.fault("there is no such method; see `klinghook simulate --help`")
	})
	mux.HandleFunc("GET /media/{id}/{file}", s.serveMedia)
	mux.HandleFunc("GET /simulator/stats", s.serveStats)
	return mux
}

// legacyKinds are what follows /v1/videos/.
func legacyKinds() []string {
	return []string{
		"text2video", "image2video", "omni-video", "motion-control", "multi-image2video", "multi-elements", "video-extend",
		"avatar/image2video", "lip-sync", "advanced-lip-sync", "effects",
	}
}

// newKinds are what precedes the model in the new form.
func newKinds() []string {
	return []string{"text-to-video", "image-to-video", "omni-video", "motion-control"}
}

// api makes a handler of a call: credentials first, then the trouble that is
// drawn, then the call itself.
func (s *Simulator) api(f form, c call) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		number := s.calls.Add(1)
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		a, refused := answer{}, s.cfg.authorize(r.Header, f, time.Now())
		if code := s.cfg.trouble(number); code != 0 && refused == nil {
			refused = code.fault("trouble, as the simulator was told to have")
		}
		if refused == nil {
			a, refused = c(r)
		}
		if refused != nil {
			s.count.refused(refused.code)
			a = answer{status: refused.code.status()}
		}
		write(w, number, a, refused)
	})
}

// write writes an answer in Kling's envelope.
func write(w http.ResponseWriter, number uint64, a answer, refused *fault) {
	envelope := map[string]any{"code": 0, "message": "SUCCEED", "request_id": fmt.Sprintf("sim-%d", number)}
	if refused != nil {
		envelope["code"], envelope["message"] = refused.code, refused.message
	} else {
		envelope["data"] = a.data
	}
	if a.numbers {
		envelope["code"] = "0"
	}
	var body any = envelope
	if a.bare && refused == nil {
		body = a.data
	}
	w.Header().Set("Content-Type", "application/json")
	if a.status != 0 {
		w.WriteHeader(a.status)
	}
	text, err := encode(body)
	if err != nil {
		text = []byte(`{"code":5000,"message":"the answer cannot be written"}`)
	}
	_, _ = w.Write(text) // a client that is gone
}

// encode writes JSON in which links can be read: their & stays what it is.
func encode(value any) ([]byte, error) {
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	err := encoder.Encode(value)
	return bytes.TrimSuffix(text.Bytes(), []byte("\n")), err
}

// decode reads a call's body.
func decode(r *http.Request, into any) *fault {
	err := json.NewDecoder(r.Body).Decode(into)
	var tooLong *http.MaxBytesError
	switch {
	case err == nil, errors.Is(err, io.EOF):
		return nil // what is missing is found missing
	case errors.As(err, &tooLong):
		return codeParameters.fault(fmt.Sprintf("the body is longer than %d bytes", maxBody))
	}
	return codeParameters.fault("the body is not the JSON that is expected: " + err.Error())
}

// loose is a text that may come as a number.
type loose string

// UnmarshalJSON takes strings and numbers.
func (l *loose) UnmarshalJSON(raw []byte) error {
	var text string
	if err := json.Unmarshal(raw, &text); err == nil {
		*l = loose(text)
		return nil
	}
	var number json.Number
	if err := json.Unmarshal(raw, &number); err != nil {
		return err
	}
	*l = loose(number.String())
	return nil
}

// baseOf is where the sender of a request reaches this simulator.
func baseOf(r *http.Request) string {
	scheme := "http"
	if r.TLS != nil {
		scheme = "https"
	}
	return scheme + "://" + r.Host
}

// checkTarget says whether callbacks can be sent to a URL.
func checkTarget(field, target string) *fault {
	u, err := url.Parse(target)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Hostname() == "" || strings.ContainsAny(target, "\r\n") {
		return codeParameterValue.fault(field + " is no http:// or https:// URL")
	}
	return nil
}
