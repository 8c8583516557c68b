package media

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"gocloud.dev/blob"
)

const (
	// partSize is how much of a file goes to a cloud in one request. S3 takes at
	// most 10,000 parts, so this allows for objects of 78 GiB.
	partSize = 8 << 20
	// partsAtOnce bounds what one upload holds in memory: so many parts in flight
	// and one that is being filled.
	partsAtOnce = 2
)

// upload is an object on its way into a bucket. Nothing is visible under its
// name until publish.
type upload struct {
	w      *blob.Writer
	cancel context.CancelFunc
	// file is the temporary file of a file bucket, else nil.
	file *os.File
	// held keeps others from taking that file for a leftover; nil without locks.
	held *os.File
	root string
}

// upload begins an object. The caller ends it with either publish or abort.
func (b *Bucket) upload(ctx context.Context, object, contentType string) (*upload, error) {
	for {
		up, err := b.begin(ctx, object, contentType)
		if err != nil {
			return nil, err
		}
		if up.file == nil {
			return up, nil
		}
		var ok bool
		if up.held, ok = hold(up.file.Name()); ok {
			temp := strings.TrimSuffix(up.file.Name(), ".tmp")
			removeLeftovers(strings.TrimSuffix(temp, filepath.Ext(temp)), time.Now())
			return up, nil
		}
		up.abort()
	}
}

// begin makes the temporary file of an object, or what a cloud has in its place.
func (b *Bucket) begin(ctx context.Context, object, contentType string) (*upload, error) {
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

// publish makes the object visible, whole and, in a file bucket, lasting.
func (up *upload) publish() error {
	if up.file != nil {
		// Before the rename: else a power cut could leave the name on an empty file,
		// in place of a good one.
		if err := up.file.Sync(); err != nil {
			up.abort()
			return fmt.Errorf("write to bucket: %w", err)
		}
	}
	defer up.end()
	if err := up.w.Close(); err != nil {
		return fmt.Errorf("write to bucket: %w", err)
	}
	if up.file == nil {
		return nil
	}
	// The job's folder may be new, so its entry in the one above counts too.
	dirs := []string{filepath.Dir(up.file.Name())}
	for dirs[len(dirs)-1] != up.root && len(dirs[len(dirs)-1]) > len(up.root) {
		dirs = append(dirs, filepath.Dir(dirs[len(dirs)-1]))
	}
	return syncDirs(dirs)
}

// abort drops what was written.
func (up *upload) abort() {
	// Close publishes unless its context has ended, and then returns that as its
	// error.
	up.cancel()
	_ = up.w.Close()
	up.end()
}

// end lets go of what the upload held.
func (up *upload) end() {
	up.cancel()
	if up.held != nil {
		_ = up.held.Close() // nothing was written to it
	}
}
