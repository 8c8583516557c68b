package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/klinghook/klinghook/internal/source"
	"github.com/klinghook/klinghook/tasks"
)

// Tracker stores jobs. store.Store implements it.
type Tracker interface {
	// Track adds a submitted job and what its program says about it. created is false if
	// the job is known already.
	Track(ctx context.Context, job tasks.JobKey, m tasks.Metadata, at time.Time) (created bool, err error)
}

// JobsConfig configures Jobs. All fields are required.
type JobsConfig struct {
	// Tokens are the accepted bearer tokens. A request must have one.
	Tokens  []string
	Tracker Tracker
	// APIs are the accepted values of "api".
	APIs []string
	Log  *zap.Logger
}

// Jobs serves PUT /jobs/<id>. Programs call it after they submit a job, so that Kling
// is asked about the job if no webhook arrives. The body is empty or an object that
// [source.ParseMetadata] reads. The answer is 201, or 200 if the job is known already, with
// {"platform": …, "id": …, "created": …}. Errors are 400, 401, 410
// (the job was deleted) and 503 with {"error": …}.
func Jobs(cfg JobsConfig) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if token, _ := BearerToken(r); !source.IsToken(token, cfg.Tokens) {
			w.Header().Set("WWW-Authenticate", "Bearer")
			Answer(w, http.StatusUnauthorized, map[string]any{"error": "send one of KLINGHOOK_API_TOKEN's tokens: Authorization: Bearer <token>"})
			return
		}
		job, metadata, err := readJob(w, r, cfg.APIs)
		if err != nil {
			Answer(w, http.StatusBadRequest, map[string]any{"error": err.Error()})
			return
		}
		created, err := cfg.Tracker.Track(r.Context(), job, metadata, time.Now())
		switch {
		case errors.Is(err, tasks.ErrErased):
			Answer(w, http.StatusGone, map[string]any{"error": "the job was deleted with klinghook jobs delete"})
		case err != nil:
			cfg.Log.Error("job not tracked", zap.Stringer("job_id", job), zap.Error(err))
			w.Header().Set("Retry-After", "5")
			Answer(w, http.StatusServiceUnavailable, map[string]any{"error": "the job could not be stored; send it again"})
		case created:
			Answer(w, http.StatusCreated, map[string]any{"platform": job.Platform, "id": job.ID, "created": true})
		default:
			Answer(w, http.StatusOK, map[string]any{"platform": job.Platform, "id": job.ID, "created": false})
		}
	})
}

// readJob returns the job in the path and what the body says about it.
func readJob(w http.ResponseWriter, r *http.Request, apis []string) (job tasks.JobKey, m tasks.Metadata, err error) {
	if strings.Count(r.URL.EscapedPath(), "/") > len("//") {
		return job, m, errors.New("the path has more than a job's id; write a slash in the id as %2F")
	}
	job.ID = r.PathValue("id")
	if err := source.CheckJobID(job.ID); err != nil {
		return job, m, err
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, source.MaxMetadataBody))
	if err != nil {
		return job, m, fmt.Errorf("read body: %w; send at most %d bytes", err, source.MaxMetadataBody)
	}
	if job.Platform, m, err = source.ParseMetadata(body); err != nil {
		return job, m, err
	}
	if m.API != "" && !slices.Contains(apis, m.API) {
		return job, m, fmt.Errorf("api is %q; it must be one of %s", m.API, strings.Join(apis, ", "))
	}
	return job, m, nil
}

// Answer writes a JSON object.
func Answer(w http.ResponseWriter, status int, body map[string]any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(body) // The client may have gone.
}
