package doctor_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/klinghook/klinghook/internal/doctor"
	"github.com/klinghook/klinghook/internal/kling"
	"github.com/klinghook/klinghook/internal/store"
	"github.com/klinghook/klinghook/internal/testenv"
)

func TestMain(m *testing.M) { testenv.Main(m) }

// find runs one check and returns its findings by name.
func find(t *testing.T, check doctor.Check) map[string]doctor.Finding {
	t.Helper()
	found := map[string]doctor.Finding{}
	for finding := range doctor.Run(t.Context(), []doctor.Check{check}) {
		found[finding.Check] = finding
	}
	return found
}

func want(t *testing.T, found map[string]doctor.Finding, check string, status doctor.Severity, part string) {
	t.Helper()
	finding := found[check]
	if finding.Status != status || !strings.Contains(finding.Found, part) {
		t.Errorf("%s: %+v, want %s with %q", check, finding, status, part)
	}
}

// TestOneCheckDoesNotDelayOthers has a check that ignores its context.
func TestOneCheckDoesNotDelayOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		quick := doctor.Check{Name: "quick", Run: func(context.Context) []doctor.Finding {
			return []doctor.Finding{{Check: "quick", Status: doctor.OK}}
		}}
		hung := doctor.Check{Name: "hung", Run: func(context.Context) []doctor.Finding { <-release; return nil }}
		start := time.Now()
		var got []string
		for finding := range doctor.Run(t.Context(), []doctor.Check{hung, quick, doctor.Broken("broken", errors.New("no"))}) {
			got = append(got, finding.Check+" "+string(finding.Status))
		}
		if want := []string{"hung failed", "quick ok", "broken failed"}; !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
		if took := time.Since(start); took > doctor.Timeout+time.Second {
			t.Errorf("it took %s", took)
		}
		close(release)
		synctest.Wait()
	})
}

func TestDatabase(t *testing.T) {
	t.Parallel()
	check := func(t *testing.T, url string) {
		open := func(ctx context.Context) (*store.Store, error) { return store.Create(ctx, url) }
		found := find(t, doctor.Database("here", open))
		want(t, found, "database", doctor.OK, "here answers")
		want(t, found, "database schema", doctor.Failed, "run `klinghook migrate`")
		db, err := open(t.Context())
		testenv.NoError(t, err)
		_, err = db.Migrate(t.Context())
		testenv.NoError(t, errors.Join(err, db.Close()))
		want(t, find(t, doctor.Database("here", open)), "database schema", doctor.OK, "")
	}
	t.Run("SQLite", func(t *testing.T) { check(t, "sqlite:"+filepath.Join(t.TempDir(), "klinghook.db")) })
	t.Run("PostgreSQL", func(t *testing.T) { check(t, testenv.Postgres(t)) })
	gone := func(context.Context) (*store.Store, error) { return nil, errors.New("is it running?") }
	want(t, find(t, doctor.Database("here", gone)), "database", doctor.Failed, "is it running?")
}

func TestKlingKey(t *testing.T) {
	for _, tt := range []struct {
		name, answer string
		code         int
		status       doctor.Severity
		part         string
	}{
		{"unknown job", `{"code":0,"data":[]}`, 200, doctor.OK, "accepts"},
		{"bad id", `{"code":1201,"message":"task_id"}`, 400, doctor.OK, "accepts"},
		{"wrong key", `{"code":1002,"message":"no hunter2"}`, 401, doctor.Failed, "check KLINGAI_API_KEY"},
		{"another address", `{"code":1304}`, 429, doctor.Failed, "public IP address"},
		{"not Kling", `<html>`, 404, doctor.Failed, "check the host"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(tt.code)
				_, _ = w.Write([]byte(tt.answer))
			}))
			defer server.Close()
			client, err := kling.New(kling.Config{BaseURL: server.URL, APIKey: "hunter2"})
			testenv.NoError(t, err)
			found := find(t, doctor.KlingKey(client, true))
			want(t, found, "kling", tt.status, tt.part)
			if strings.Contains(found["kling"].Found, "hunter2") {
				t.Errorf("it shows the key: %s", found["kling"].Found)
			}
		})
	}
	want(t, find(t, doctor.KlingKey(nil, false)), "kling", doctor.Warning, "no credentials")
}

func TestKlingClock(t *testing.T) {
	ahead := time.Duration(0)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Date", time.Now().Add(ahead).UTC().Format(http.TimeFormat))
		w.WriteHeader(http.StatusNotFound)
	}))
	defer server.Close()
	for _, tt := range []struct {
		ahead  time.Duration
		status doctor.Severity
		part   string
	}{
		{0, doctor.OK, ""},
		{10 * time.Second, doctor.Warning, "ahead of this machine's"},
		{-10 * time.Minute, doctor.Failed, "behind this machine's"},
	} {
		ahead = tt.ahead
		want(t, find(t, doctor.KlingClock(server.URL)), "kling clock", tt.status, tt.part)
	}
	server.Close()
	want(t, find(t, doctor.KlingClock(server.URL)), "kling clock", doctor.Failed, "connection refused")
}

func TestDestination(t *testing.T) {
	send := func(err error) func(context.Context) error { return func(context.Context) error { return err } }
	want(t, find(t, doctor.Destination("slack", nil)), "slack", doctor.OK, "--notify")
	want(t, find(t, doctor.Destination("slack", send(nil))), "slack", doctor.OK, "accepted")
	want(t, find(t, doctor.Destination("slack", send(errors.New("no such channel")))), "slack", doctor.Failed, "no such channel")
	want(t, find(t, doctor.Bucket("file:///srv", send(nil))), "bucket", doctor.OK, "file:///srv")
	want(t, find(t, doctor.Bucket("file:///srv", send(errors.New("denied")))), "bucket", doctor.Failed, "denied")
}
