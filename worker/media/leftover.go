package media

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"time"
)

// staleAfter is when a temporary file that nothing was written to any more is
// taken for one of a killed process, where locks do not tell.
const staleAfter = 24 * time.Hour

// temporary is what the temporary file of an object of [ObjectName] is called: a
// folder may hold files of others as well.
var temporary = regexp.MustCompile(`^(.+\.(?:mp4|jpg))\.[0-9a-f]+\.tmp$`)

// RemoveLeftovers removes what killed processes have left of their downloads to a
// file bucket, and returns how many there were. It looks through the whole folder:
// it is for the start of a process. A cloud keeps nothing of such downloads that
// could be seen.
func (b *Bucket) RemoveLeftovers(ctx context.Context) (n int, err error) {
	if b.root == "" {
		return 0, nil
	}
	now := time.Now()
	err = filepath.WalkDir(b.root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil && path == b.root {
			return err
		}
		// What cannot be read is only in the way, and no reason to stop.
		if err == nil && removeIfLeftover(path, entry, now) {
			n++
		}
		return ctx.Err()
	})
	if err != nil {
		return n, fmt.Errorf("remove leftovers from bucket: %w", err)
	}
	return n, nil
}

// removeLeftovers removes the temporary files of one object that no process writes
// any more.
func removeLeftovers(object string, now time.Time) {
	dir, name := filepath.Split(object)
	entries, _ := os.ReadDir(dir)
	for _, entry := range entries {
		if m := temporary.FindStringSubmatch(entry.Name()); len(m) > 1 && m[1] == name {
			removeIfLeftover(filepath.Join(dir, entry.Name()), entry, now)
		}
	}
}

// removeIfLeftover removes a file if it is a temporary one that nobody writes.
func removeIfLeftover(path string, entry fs.DirEntry, now time.Time) (removed bool) {
	if !entry.Type().IsRegular() || !temporary.MatchString(entry.Name()) {
		return false
	}
	if removeUnheld(path) {
		return true
	}
	info, err := entry.Info()
	return err == nil && now.Sub(info.ModTime()) > staleAfter && os.Remove(path) == nil
}
