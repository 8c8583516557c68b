// Package track is PUT /jobs/<id> on the private listener, by which a program tells
// klinghook of a job that it has submitted, so that Kling is asked about it when
// nothing is heard. It needs a bearer token, and does nothing else.
package track

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/klinghook/klinghook/internal/kling"
	"github.com/klinghook/klinghook/internal/source"
	"github.com/klinghook/klinghook/tasks"
)

// Tracker keeps jobs. store.Store is one.
type Tracker interface {
	// Track makes a job known that was submitted; created is false when it was known.
	Track(ctx context.Context, jobID, api string, at time.Time) (created bool, err error)
}

// Handler answers PUT <prefix>/<job id>, the prefix being one part of a path. The body is {"api": "text2video"}, which
// says where Kling keeps the job (see [APIs]), or there is none. The answer is 201,
// or 200 for a job that was known already, with {"id": …, "created": …}; 400, 401 and
// 503 come with {"error": …}.
type Handler struct {
	// Tokens are the bearer tokens, one of which a request must carry. Required.
	Tokens []string
	// Tracker is required.
	Tracker Tracker
	// Log is told why a job could not be kept; default nobody is.
	Log *zap.Logger
	// Now is the clock; default time.Now.
	Now func() time.Time
}

// maxBody is far more than any body needs, in bytes.
const maxBody = 4 << 10

// ServeHTTP implements [http.Handler].
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !h.authorized(r) {
		w.Header().Set("WWW-Authenticate", "Bearer")
		refuse(w, http.StatusUnauthorized, "send one of KLINGHOOK_API_TOKEN's tokens: Authorization: Bearer <token>")
		return
	}
	id, err := jobIn(r.URL.EscapedPath())
	if err != nil {
		refuse(w, http.StatusBadRequest, err.Error())
		return
	}
	api, err := readAPI(w, r)
	if err != nil {
		refuse(w, http.StatusBadRequest, err.Error())
		return
	}
	now := time.Now
	if h.Now != nil {
		now = h.Now
	}
	created, err := h.Tracker.Track(r.Context(), id, api, now())
	switch {
	case err != nil:
		if h.Log != nil {
			h.Log.Error("job not tracked", zap.String("job_id", id), zap.Error(err))
		}
		w.Header().Set("Retry-After", "5")
		refuse(w, http.StatusServiceUnavailable, "the job could not be kept; send it again")
	case created:
		answer(w, http.StatusCreated, map[string]any{"id": id, "created": true})
	default:
		answer(w, http.StatusOK, map[string]any{"id": id, "created": false})
	}
}

// jobIn returns the job that an escaped path of <prefix>/<job id> is about.
func jobIn(path string) (id string, err error) {
	_, escaped, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	if strings.Contains(escaped, "/") {
		// The last part alone would be another job.
		return "", errors.New("the path has more than a job's id; write a slash in the id as %2F")
	}
	if id, err = url.PathUnescape(escaped); err != nil {
		return "", err
	}
	return id, source.CheckJobID(id)
}

// authorized compares with every token, in a time that tells nothing of any.
func (h *Handler) authorized(r *http.Request) bool {
	scheme, given, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return false
	}
	sum := sha256.Sum256([]byte(given))
	known := 0
	for _, token := range h.Tokens {
		want := sha256.Sum256([]byte(token))
		known |= subtle.ConstantTimeCompare(sum[:], want[:])
	}
	return known == 1
}

func readAPI(w http.ResponseWriter, r *http.Request) (string, error) {
	if r.ContentLength == 0 {
		return "", nil
	}
	var body struct {
		API string `json:"api"`
	}
	decoder := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody))
	decoder.DisallowUnknownFields()
	switch err := decoder.Decode(&body); {
	case errors.Is(err, io.EOF): // no body, though its length was not announced
		return "", nil
	case err != nil:
		return "", fmt.Errorf(`body: want none, or JSON such as {"api": "text2video"}: %w`, err)
	}
	if body.API != "" && !slices.Contains(APIs(), body.API) {
		return "", fmt.Errorf("api is %q; it takes one of %s", body.API, strings.Join(APIs(), ", "))
	}
	return body.API, nil
}

// APIs returns the names by which a caller may say where Kling keeps a job.
func APIs() []string {
	names := []string{tasks.APITasks, tasks.APILegacy}
	for _, kind := range kling.Kinds() {
		if kind != kling.KindTasks {
			names = append(names, string(kind))
		}
	}
	return names
}

func refuse(w http.ResponseWriter, status int, reason string) {
	answer(w, status, map[string]any{"error": reason})
}

func answer(w http.ResponseWriter, status int, body map[string]any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(body) // whoever went away does not read it
}
