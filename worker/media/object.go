package media

import (
	"context"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"gocloud.dev/blob"
)

const (
	// partSize is how much of a file goes to a cloud in one request. S3 takes at most
	// 10,000 parts, so this allows for objects of 78 GiB.
	partSize = 8 << 20
	// partsAtOnce bounds the memory of one upload: it is how many parts are sent while
	// another is filled.
	partsAtOnce = 2
	// staleAfter is the age of a temporary file that a killed process left behind. A
	// download that receives nothing gives up much earlier.
	staleAfter = time.Hour
)

// upload is an object being written. Nothing is visible under its name until publish.
type upload struct {
	w      *blob.Writer
	cancel context.CancelFunc
	file   *os.File // the temporary file; nil in a cloud
	root   string
}

// upload starts an object. The caller ends it with publish or abort.
func (b *Bucket) upload(ctx context.Context, object, contentType string) (*upload, error) {
	up := &upload{root: b.root}
	ctx, up.cancel = context.WithCancel(ctx)
	w, err := b.blob.NewWriter(ctx, object, &blob.WriterOptions{
		ContentType:    contentType,
		BufferSize:     partSize,
		MaxConcurrency: partsAtOnce,
		BeforeWrite: func(as func(any) bool) error {
			as(&up.file)
			return nil
		},
	})
	if err != nil {
		up.cancel()
		return nil, fmt.Errorf("write to bucket: %w", err)
	}
	up.w = w
	return up, nil
}

func (up *upload) write(p []byte) error {
	if _, err := up.w.Write(p); err != nil {
		return fmt.Errorf("write to bucket: %w", err)
	}
	return nil
}

// publish makes the object visible and, in a file bucket, durable.
func (up *upload) publish() error {
	defer up.cancel()
	if up.file != nil {
		// Without a sync before the rename, a power cut could leave an empty file.
		if err := up.file.Sync(); err != nil {
			up.abort()
			return fmt.Errorf("write to bucket: %w", err)
		}
	}
	if err := up.w.Close(); err != nil {
		return fmt.Errorf("write to bucket: %w", err)
	}
	if up.file == nil {
		return nil
	}
	// The job's folder may be new, so its entry in its parent is synced too.
	dirs := []string{filepath.Dir(up.file.Name())}
	for last := dirs[0]; last != up.root && len(last) > len(up.root); dirs = append(dirs, last) {
		last = filepath.Dir(last)
	}
	return syncDirs(dirs)
}

// abort discards the upload.
func (up *upload) abort() {
	up.cancel() // without this, Close would publish
	_ = up.w.Close()
}

// temporary matches the temporary file of an object with one of our extensions, but not
// the files of other programs.
var temporary = regexp.MustCompile(`^.+(?:\` + strings.Join(slices.Sorted(maps.Values(extensions)), `|\`) + `)\.[0-9a-f]+\.tmp$`)

// RemoveLeftovers removes temporary files that killed processes left in a file bucket an
// hour ago or earlier, and returns how many. In a cloud it does nothing.
func (b *Bucket) RemoveLeftovers(ctx context.Context) (n int, err error) {
	if b.root == "" {
		return 0, nil
	}
	err = filepath.WalkDir(b.root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil && path == b.root {
			return err
		}
		if err != nil || !entry.Type().IsRegular() || !temporary.MatchString(entry.Name()) {
			return ctx.Err() // unreadable folders are skipped
		}
		if info, err := entry.Info(); err == nil && time.Since(info.ModTime()) > staleAfter && os.Remove(path) == nil {
			n++
		}
		return ctx.Err()
	})
	if err != nil {
		return n, fmt.Errorf("remove leftovers from bucket: %w", err)
	}
	return n, nil
}
