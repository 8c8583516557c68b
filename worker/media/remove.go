package media

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"gocloud.dev/blob"
	"gocloud.dev/gcerrors"

	"github.com/klinghook/klinghook/tasks"
)

// RemoveJob removes all files of a job, including the temporary files of running and killed
// downloads, and returns how many. Parts of an interrupted upload to a cloud have no name;
// the cloud's lifecycle rules remove them.
func (b *Bucket) RemoveJob(ctx context.Context, job tasks.JobKey) (n int, err error) {
	folder := folderOf(job)
	if b.root != "" {
		n, err = removeFolder(filepath.Join(b.root, filepath.FromSlash(folder)))
	} else {
		n, err = b.removePrefix(ctx, folder+"/")
	}
	if err != nil {
		return n, fmt.Errorf("remove the files of job %s: %w", job, err)
	}
	return n, nil
}

// removeFolder removes a folder and returns how many files it had.
func removeFolder(path string) (n int, err error) {
	err = filepath.WalkDir(path, func(_ string, entry fs.DirEntry, err error) error {
		if err == nil && entry.Type().IsRegular() {
			n++
		}
		return err
	})
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err == nil {
		err = os.RemoveAll(path)
	}
	return n, err
}

func (b *Bucket) removePrefix(ctx context.Context, prefix string) (n int, err error) {
	list := b.blob.List(&blob.ListOptions{Prefix: prefix})
	for {
		object, err := list.Next(ctx)
		if errors.Is(err, io.EOF) {
			return n, nil
		}
		if err != nil {
			return n, err
		}
		if err := b.remove(ctx, object.Key); err != nil {
			return n, err
		}
		n++
	}
}

// Remove removes one object, if it exists. In a file bucket it also removes the object's
// folder if that is empty, and makes all of it durable.
func (b *Bucket) Remove(ctx context.Context, object string) error {
	err := b.remove(ctx, object)
	if err == nil && b.root != "" {
		dir := filepath.Dir(b.Location(object))
		for len(dir) > len(b.root) && os.Remove(dir) == nil {
			dir = filepath.Dir(dir)
		}
		if err = syncDirs([]string{dir}); errors.Is(err, fs.ErrNotExist) { // another process removed it
			err = nil
		}
	}
	if err != nil {
		return fmt.Errorf("remove %s: %w", object, err)
	}
	return nil
}

func (b *Bucket) remove(ctx context.Context, object string) error {
	if err := b.blob.Delete(ctx, object); err != nil && gcerrors.Code(err) != gcerrors.NotFound {
		return err
	}
	return nil
}
