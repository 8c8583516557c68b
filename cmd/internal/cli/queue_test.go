package cli

import (
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"

	"github.com/klinghook/klinghook/config"
)

func TestSpoolErrorSaysWhatToDo(t *testing.T) {
	rdb := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1"})
	t.Cleanup(func() { _ = rdb.Close() })
	for dir, want := range map[string]string{
		"/sys/klinghook":         "let this user write there", // not even root may
		"/dev/null/not-a-folder": "KLINGHOOK_SPOOL_DIR (--spool-dir)",
	} {
		_, err := OpenQueue(&config.Config{SpoolDir: dir}, rdb, zap.NewNop(), prometheus.NewRegistry())
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "--no-spool") || !strings.Contains(err.Error(), dir) {
			t.Errorf("spool in %s: %v, want an error with %q", dir, err, want)
		}
	}
}
