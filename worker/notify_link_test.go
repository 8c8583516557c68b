package worker_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"

	"github.com/klinghook/klinghook/internal/store"
	"github.com/klinghook/klinghook/internal/testenv"
	"github.com/klinghook/klinghook/tasks"
	"github.com/klinghook/klinghook/worker/media"
)

func TestForwardsHaveLinksToStoredFiles(t *testing.T) {
	for name, tt := range map[string]struct {
		lifetime time.Duration
		want     string // the beginning of the link
	}{
		"a bucket that signs": {time.Hour, "https://files.example/?expiry="},
		"off":                 {0, ""},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, miniredis.RunT(t).Addr(), time.Second)
			key := filepath.Join(t.TempDir(), "key")
			testenv.NoError(t, os.WriteFile(key, []byte("secret"), 0o600))
			bucket, err := media.OpenBucket(t.Context(), "file://"+f.bucket+"?base_url=https://files.example/&secret_key_path="+key)
			testenv.NoError(t, err)
			t.Cleanup(func() { _ = bucket.Close() })
			f.cfg.Bucket, f.cfg.StoredLinkLifetime = bucket, tt.lifetime
			f.renew(t)
			f.completedAt(t, "30", "vid_1", "/v.mp4")
			f.workOn(t, tasks.QueueEvents)
			f.workOn(t, tasks.QueueMedia)
			f.checkMedia(t, "vid_1", store.MediaStored, "")
			f.work(t)
			for _, messages := range f.forwarded {
				if link := messages[0].Data.Media[0].DownloadURL; !strings.HasPrefix(link, tt.want) || link == "" != (tt.want == "") || strings.Contains(link, f.bucket) {
					t.Errorf("link %q, want %q", link, tt.want)
				}
			}
			if len(f.forwarded) != 1 {
				t.Errorf("%d messages, want 1", len(f.forwarded))
			}
			for _, entry := range f.logs.All() {
				for _, value := range entry.ContextMap() {
					if text, ok := value.(string); ok && strings.Contains(text, "files.example") {
						t.Errorf("the log has the link: %s %v", entry.Message, entry.ContextMap())
					}
				}
			}
		})
	}
}
