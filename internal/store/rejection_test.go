package store_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/klinghook/klinghook/internal/store"
	"github.com/klinghook/klinghook/internal/testenv"
	"github.com/klinghook/klinghook/tasks"
)

func TestOnlyTheNewestRejectionsAreKept(t *testing.T) {
	onBoth(t, func(t *testing.T, db *store.Store) {
		ctx := t.Context()
		const n = 1010
		reject := func(i int) tasks.Rejection {
			return tasks.Rejection{
				ID: fmt.Sprintf("rej_%04d", i), ReceivedAt: received.Add(time.Duration(i) * time.Second), Source: "klingai", Reason: "invalid_signature",
				Detail: "no signature", Peer: "192.0.2.1:1", Headers: map[string]string{"User-Agent": "curl"}, Body: []byte("\x00\xff"),
			}
		}
		for i := range n {
			testenv.NoError(t, db.KeepRejection(ctx, reject(i)))
		}
		malformed := reject(n)
		malformed.Reason = "malformed"
		for range 2 {
			testenv.NoError(t, db.KeepRejection(ctx, malformed))
		}
		all, err := db.Rejections(ctx, store.RejectionFilter{})
		testenv.NoError(t, err)
		if len(all) != 1000 {
			t.Errorf("%d rejections are kept, want the newest 1000", len(all))
		}
		if diff := cmp.Diff([]tasks.Rejection{malformed, reject(n - 1)}, all[:2]); diff != "" {
			t.Errorf("newest rejections (-want +got):\n%s", diff)
		}
		some, err := db.Rejections(ctx, store.RejectionFilter{Source: "klingai", Reason: "malformed", Limit: 5})
		if err != nil || len(some) != 1 {
			t.Errorf("%d malformed, %v; want 1", len(some), err)
		}
	})
}
