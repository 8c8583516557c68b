package dashboard

import (
	"cmp"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/klinghook/klinghook/internal/source"
	"github.com/klinghook/klinghook/internal/store"
	"github.com/klinghook/klinghook/tasks"
)

// rejectionsPerPage is how many refused deliveries one page shows.
const rejectionsPerPage = 25

// reasons explain the reasons of ingest for refusing a delivery, in the order of the
// filter.
var reasons = []struct {
	reason, name string
	// why is the likely reason, and advice says what to do.
	why, advice string
}{
	{"invalid_signature", "Wrong signature", "It was not signed with a secret that klinghook knows: the secrets differ, or someone else sent it.",
		"Compare the secret with Kling's. While you rotate it, set both the old and the new one. If Kling's own deliveries arrive, ignore this one."},
	{"malformed", "Unreadable body", "The signature is right, but the body is not JSON or lacks what every event has.",
		"Read the detail and the body. If Kling sent it, please report it; if your own program did, fix it there."},
	{"too_large", "Body too large", "The body is larger than KLINGHOOK_MAX_BODY, or than 16 KiB on the path for unsigned callbacks.",
		"Raise KLINGHOOK_MAX_BODY, and the limit of a reverse proxy in front of ingest, if such bodies are wanted."},
	{"encoded", "Encoded body", "The body is compressed. Signatures cover the bytes before that.", "Send it without a Content-Encoding, and turn off compression of requests in the proxy."},
	{"cut_short", "Body cut short", "The body ended early or took too long: a slow or broken connection, or a proxy with a shorter timeout.",
		"Nothing, if it is rare: Kling sends it again. Otherwise check the timeouts of the proxy in front of ingest."},
	{"busy", "Too much at once", "All the memory for bodies, or all the processors for large ones, were in use.", "Kling sends it again. If it happens often, start another ingest process."},
	{"unknown_token", "Unknown token in the path", "The path ends in a token that is not in KLINGHOOK_CALLBACK_TOKEN: it was mistyped or removed, or someone is guessing.",
		"Compare the callback_url that you give Kling with the setting."},
	{"throttled", "Too many unsigned callbacks", "More than 5 callbacks a second used the same token.", "Use one token per program, or signed callbacks, which have no such limit."},
	{"off", "Unsigned callbacks are off", "klinghook must ask Kling about the job of an unsigned callback, and no worker has asked Kling lately.",
		"Set KLINGAI_API_KEY for the workers, and check that one runs."},
	{"wrong_path", "Wrong path or method", "It was sent to a path, or with a method, that ingest does not serve.", "Fix the URL at the sender; the detail names the right one. Check that no proxy changes the path."},
}

// unsampled are the reasons of deliveries that are counted, but not kept as samples.
var unsampled = map[string]string{"queue_unreachable": "Redis away and spool full", "overloaded": "too many at once"}

// reasonName returns the pages' name for a reason, within a sentence.
func reasonName(reason string) string {
	for _, known := range reasons {
		if known.reason == reason {
			return strings.ToLower(known.name[:1]) + known.name[1:]
		}
	}
	return cmp.Or(unsampled[reason], reason)
}

// signatureDetails explain details of a wrong signature, by a part of the detail.
var signatureDetails = []struct{ part, why, advice string }{
	{" is missing", "A header of the signature is missing: the sender does not sign, or a proxy removed the header.", "Turn on signing at the sender, and let the proxy pass its headers on."},
	{"more than once", "A header of the signature is there more than once.", "Look for a proxy that adds or copies headers."},
	{"malformed", "A header of the signature does not have its form: another scheme, or a proxy changed it.", "Compare it with the form in the detail, and check that the sender uses the path of its own scheme."},
	{"too old", "It was signed more than a few minutes before it arrived: it was delayed or repeated, or this machine's clock is fast.", "Synchronise the clock with NTP. Kling's own repeats are signed again."},
	{"too new", "Its time of signing is in the future: this machine's clock is slow.", "Synchronise the clock with NTP."},
}

// bodyDetails are plain words for details of a body that could not be read, by a part of
// the detail.
var bodyDetails = [][2]string{
	{"request body too large", "the body is larger than the limit"},
	{"unexpected EOF", "the connection ended before the whole body had arrived"},
	{"i/o timeout", "the body took too long to arrive"},
}

// detailText returns the detail of a refused delivery for people.
func detailText(rejection tasks.Rejection) string {
	if rejection.Reason == "too_large" || rejection.Reason == "cut_short" {
		for _, known := range bodyDetails {
			if strings.Contains(rejection.Detail, known[0]) {
				return known[1]
			}
		}
	}
	return withoutLinkSecrets(rejection.Detail)
}

// rejected is a refused delivery as the page shows it.
type rejected struct {
	tasks.Rejection
	Name, Why, Advice string
	// Shown are the headers by name, without secrets; Text is the body.
	Shown [][2]string
	Text  string
	// Cut reports that only the start of the body was kept.
	Cut bool
}

func newRejected(rejection tasks.Rejection) rejected {
	shown := rejected{Rejection: rejection, Name: rejection.Reason, Why: "No further explanation is known.", Advice: "See the log of klinghook-ingest.", Cut: len(rejection.Body) >= tasks.MaxRejectionBody}
	for _, known := range reasons {
		if known.reason == rejection.Reason {
			shown.Name, shown.Why, shown.Advice = known.name, known.why, known.advice
		}
	}
	if rejection.Reason == "invalid_signature" {
		for _, known := range signatureDetails {
			if strings.Contains(rejection.Detail, known.part) {
				shown.Why, shown.Advice = known.why, known.advice
				break
			}
		}
	}
	shown.Detail = detailText(rejection)
	headers := withoutHeaderSecrets(rejection.Headers)
	for _, name := range slices.Sorted(maps.Keys(headers)) {
		shown.Shown = append(shown.Shown, [2]string{name, headers[name]})
	}
	shown.Text = pretty(withoutSignatures(rejection.Body))
	return shown
}

// rejectionsPage is the data of the page of refused deliveries.
type rejectionsPage struct {
	Reasons, Sources []option
	List             []rejected
	Filtered         bool
	All              string
	Newest, Older    string
}

// routeRejections serves the samples of refused deliveries.
func (d *dashboard) routeRejections(mux *http.ServeMux) {
	d.routePage(mux, "GET", "/rejections", d.showRejections)
}

func (d *dashboard) showRejections(w http.ResponseWriter, r *http.Request) {
	values := r.URL.Query()
	filter := store.RejectionFilter{Reason: values.Get("reason"), Source: values.Get("source"), Limit: rejectionsPerPage + 1}
	before, err := store.ParsePosition(values.Get("before"))
	if err != nil {
		d.showProblem(w, r, http.StatusBadRequest, "Unknown link", "Start again from the newest refused delivery.")
		return
	}
	filter.Before = before
	list, err := d.cfg.Store.Rejections(r.Context(), filter)
	if err != nil {
		d.showError(w, r, err)
		return
	}
	page := rejectionsPage{Reasons: reasonOptions(filter.Reason), Sources: sourceOptions(filter.Source), All: d.cfg.Prefix + "/rejections", Filtered: filter.Reason != "" || filter.Source != ""}
	link := func(before string) string {
		return d.cfg.Prefix + "/rejections?" + queryOf(map[string]string{"reason": filter.Reason, "source": filter.Source, "before": before}).Encode()
	}
	if len(list) > rejectionsPerPage {
		list = list[:rejectionsPerPage]
		last := list[rejectionsPerPage-1]
		page.Older = link(store.Position{At: last.ReceivedAt, ID: last.ID}.String())
	}
	if !filter.Before.IsZero() {
		page.Newest = link("")
	}
	for _, rejection := range list {
		page.List = append(page.List, newRejected(rejection))
	}
	d.show(w, r, view{Name: "rejections", Title: "Refused deliveries", Section: "/rejections", Data: page})
}

func reasonOptions(selected string) []option {
	list := []option{{"", "Any reason", selected == ""}}
	for _, known := range reasons {
		list = append(list, option{known.reason, known.name, selected == known.reason})
	}
	return list
}

func sourceOptions(selected string) []option {
	list := []option{{"", "Any endpoint", selected == ""}}
	for _, protocol := range append(source.Protocols(), source.CallbackProtocol()) {
		list = append(list, option{protocol.Name, title(sourceName(protocol.Name)), selected == protocol.Name})
	}
	return append(list, option{"unknown", "Wrong path", selected == "unknown"})
}

// Endpoint says where the delivery was sent.
func (r rejected) Endpoint() string {
	if r.Source == "unknown" {
		return "wrong path"
	}
	return cmp.Or(sourceName(r.Source), "unknown")
}
