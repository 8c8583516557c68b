package store

import (
	"testing"

	"github.com/klinghook/klinghook/internal/testenv"
)

// TestPlansAnew holds that no connection keeps a plan of when the tables were small.
func TestPlansAnew(t *testing.T) {
	s, err := Open(t.Context(), testenv.Postgres(t))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	mode, err := scanText(s.db.QueryRowContext(t.Context(), `SHOW plan_cache_mode`))
	if err != nil || mode != "force_custom_plan" {
		t.Errorf("plan_cache_mode is %q, %v", mode, err)
	}
}
