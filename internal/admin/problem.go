package admin

import (
	"encoding/json"
	"net/http"
	"strings"
)

// Refuse answers a request that cannot be served: browsers that load a page get text,
// programs get problem details (RFC 9457). detail says what to do.
func Refuse(w http.ResponseWriter, r *http.Request, status int, detail string) {
	w.Header().Set("Cache-Control", "no-store")
	if strings.Contains(r.Header.Get("Accept"), "text/html") {
		http.Error(w, detail, status)
		return
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(problem{http.StatusText(status), status, detail}) // The client may have gone.
}

// problem is a response in the format of RFC 9457, of type about:blank.
type problem struct {
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail"`
}
