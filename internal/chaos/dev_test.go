package chaos

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	_ "modernc.org/sqlite" // the "sqlite" driver

	"github.com/klinghook/klinghook/internal/programs"
	"github.com/klinghook/klinghook/internal/testenv"
)

// oneProcess is dev, with its queue in memory, SQLite and a folder.
func oneProcess(*testing.T) layout { return layout{dev: true} }

// startDev starts dev and returns where deliveries go.
func (s *system) startDev() (targets []string) {
	addr := fmt.Sprintf("127.0.0.1:%d", testenv.FreePort(s.t))
	admin := fmt.Sprintf("127.0.0.1:%d", testenv.FreePort(s.t))
	settings := s.settings()
	maps.Copy(settings, secrets())
	settings["KLINGHOOK_ADDR"], settings["KLINGHOOK_ADMIN_ADDR"] = addr, admin
	// The commands that the suite runs find it by its data folder.
	s.ingests = append(s.ingests, s.supervise("dev", s.set.Path(programs.Klinghook), settings, "dev"))
	s.admins = append(s.admins, admin)
	s.openDatabase("sqlite", "file:"+filepath.Join(settings["KLINGHOOK_DATA"], "klinghook.db")+"?mode=ro&_pragma=busy_timeout(5000)")
	return []string{"http://" + addr}
}

// embedded connects to the queue that dev has in its memory.
func (s *system) embedded(ctx context.Context) (*redis.Client, error) {
	content, err := os.ReadFile(filepath.Join(s.settings()["KLINGHOOK_DATA"], "dev.json"))
	if err != nil {
		return nil, err
	}
	var note struct{ Redis string }
	if err := json.Unmarshal(content, &note); err != nil {
		return nil, err
	}
	options, err := redis.ParseURL(note.Redis)
	if err != nil {
		return nil, err
	}
	rdb := redis.NewClient(options)
	if err := rdb.Ping(ctx).Err(); err != nil {
		return nil, errors.Join(err, rdb.Close())
	}
	return rdb, nil
}

// devKilled kills dev, which has the queue in its memory, again and again.
func devKilled(s *system, _ form) {
	load := s.load(rate)
	for range 10 {
		s.pass(s.between(300*time.Millisecond, 3*time.Second))
		s.ingests[0].kill()
	}
	load.finish()
}
