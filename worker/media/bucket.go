package media

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"gocloud.dev/blob"
	_ "gocloud.dev/blob/azureblob" // azblob://
	_ "gocloud.dev/blob/fileblob"  // file://
	_ "gocloud.dev/blob/gcsblob"   // gs://
	_ "gocloud.dev/blob/s3blob"    // s3://
	"gocloud.dev/gcerrors"

	"github.com/klinghook/klinghook/tasks"
)

// ObjectName returns a readable name for a job's file, without an extension:
// "<job>/video", "<job>/video-2", "<job>/thumbnail". Files of a platform other than Kling
// are below "platform=<name>/". No two files share a name, not even on Windows or a file
// system that ignores case.
func ObjectName(job tasks.JobKey, mediaName string) string {
	return folderOf(job) + "/" + fileName(mediaName)
}

// folderOf returns the folder of a job's files.
func folderOf(job tasks.JobKey) string {
	if job.Platform == tasks.PlatformKling {
		return fileName(job.ID)
	}
	return "platform=" + fileName(job.Platform) + "/" + fileName(job.ID)
}

// device matches the names of devices on Windows.
var device = regexp.MustCompile(`(?i)^(con|prn|aux|nul|(com|lpt)[0-9])(\.|$)`)

// fileName returns [tasks.SafeID] of an id. It also escapes a dot at the end and the
// first letter of a device's name, and adds part of the id's SHA-256 if the id has
// upper-case letters, as SafeID does to long ids.
func fileName(id string) string {
	name := tasks.SafeID(id)
	if strings.ToLower(name) != name && !strings.Contains(name, "~~") {
		sum := sha256.Sum256([]byte(id))
		name += "~~" + hex.EncodeToString(sum[:8])
	}
	if base, ok := strings.CutSuffix(name, "."); ok {
		name = base + "~2e"
	}
	if device.MatchString(name) {
		name = fmt.Sprintf("~%02x", name[0]) + name[1:]
	}
	return name
}

// Bucket is where downloads go. It is safe for concurrent use.
type Bucket struct {
	blob *blob.Bucket
	root string // the folder of a file bucket, absolute; else empty
	// cloud is the URL that object names are appended to; empty for a file bucket.
	cloud   string
	checked atomic.Bool
}

// OpenBucket opens a file://, s3://, gs:// or azblob:// URL; the package comment shows
// their forms. It contacts no cloud. Errors say what to write instead.
func OpenBucket(ctx context.Context, bucketURL string) (*Bucket, error) {
	u, err := url.Parse(bucketURL)
	if err != nil {
		return nil, errors.New("open bucket: it is not a URL: write one of " + bucketForms)
	}
	if u.User != nil {
		return nil, fmt.Errorf("open bucket %s://%s: remove the user information from the URL: credentials come from the cloud's own environment variables or files", u.Scheme, u.Host)
	}
	var root string
	switch u.Scheme {
	case "file":
		root, err = fileBucket(u)
	case "s3", "gs", "azblob":
		err = checkCloudBucket(u)
	case "":
		err = fmt.Errorf("it has no scheme: for a folder write %s", fileURL(bucketURL))
	default:
		err = fmt.Errorf("unknown scheme %q: write one of %s", u.Scheme, bucketForms)
	}
	if err != nil {
		return nil, fmt.Errorf("open bucket %s: %w", bucketURL, err)
	}
	made := missingDirs(root)
	b, err := blob.OpenBucket(ctx, u.String())
	if err != nil {
		return nil, fmt.Errorf("open bucket %s: %w", bucketURL, err)
	}
	// Without a sync, a power cut could remove the created folders.
	err = syncDirs(made)
	if err == nil && root != "" {
		err = checkWritable(root)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open bucket %s: %w", bucketURL, err), b.Close())
	}
	opened := &Bucket{blob: b, root: root}
	if root == "" {
		opened.cloud = u.Scheme + "://" + u.Host + "/" + u.Query().Get("prefix")
	}
	return opened, nil
}

// Location returns where an object is, for people: a path, or its URL in a cloud.
func (b *Bucket) Location(object string) string {
	if b.root != "" {
		return filepath.Join(b.root, filepath.FromSlash(object))
	}
	return b.cloud + object
}

// SignedURL returns a link that lets anybody download an object until it expires; empty if
// the bucket does not sign links, like a folder. Do not log it.
func (b *Bucket) SignedURL(ctx context.Context, object string, lifetime time.Duration) (string, error) {
	link, err := b.blob.SignedURL(ctx, object, &blob.SignedURLOptions{Expiry: lifetime})
	switch {
	case gcerrors.Code(err) == gcerrors.Unimplemented:
		return "", nil
	case err != nil:
		return "", fmt.Errorf("sign link to %s: %w", object, err)
	}
	return link, nil
}

// Open opens an object for reading. The error is fs.ErrNotExist if there is none.
func (b *Bucket) Open(ctx context.Context, object string) (io.ReadSeekCloser, error) {
	r, err := b.blob.NewReader(ctx, object, nil)
	if gcerrors.Code(err) == gcerrors.NotFound {
		return nil, fmt.Errorf("open object %s: %w", object, fs.ErrNotExist)
	}
	if err != nil {
		return nil, fmt.Errorf("open object %s: %w", object, err)
	}
	return r, nil
}

// Close closes the bucket. Downloads into it must have ended.
func (b *Bucket) Close() error {
	if err := b.blob.Close(); err != nil {
		return fmt.Errorf("close bucket: %w", err)
	}
	return nil
}

const bucketForms = "file:///absolute/folder, s3://bucket, gs://bucket, azblob://container"

// fileBucket checks a file URL, adds klinghook's parameters, and returns the folder.
func fileBucket(u *url.URL) (string, error) {
	// The driver would silently read file://data/media as /media.
	if u.Opaque != "" || (u.Host != "" && u.Host != "localhost" && u.Host != ".") {
		return "", fmt.Errorf("a folder's URL has three slashes: write %s", fileURL(u.Opaque+u.Host+u.Path))
	}
	path := u.Path
	if u.Host == "." {
		path = "." + path
	}
	if path == "" {
		return "", fmt.Errorf("it names no folder: write %s", fileURL("klinghook-data/media"))
	}
	q := u.Query()
	if !q.Has("create_dir") {
		q.Set("create_dir", "1")
	}
	if !q.Has("metadata") {
		q.Set("metadata", "skip")
	}
	// Required: a rename from another file system fails.
	q.Set("no_tmp_dir", "1")
	u.RawQuery = q.Encode()
	return filepath.Abs(path)
}

// checkCloudBucket returns an error for parts of a URL that the drivers would ignore.
func checkCloudBucket(u *url.URL) error {
	if u.Host == "" {
		return fmt.Errorf("it names no bucket: write %s://name", u.Scheme)
	}
	if folder := filepath.Clean("/" + u.Path); folder != "/" {
		return fmt.Errorf("a folder of a bucket is a parameter: write %s://%s?prefix=%s/", u.Scheme, u.Host, folder[1:])
	}
	return nil
}

// fileURL returns the URL of a folder.
func fileURL(path string) string {
	abs, err := filepath.Abs(path)
	if err != nil {
		return "file:///absolute/folder"
	}
	return (&url.URL{Scheme: "file", Path: abs}).String()
}

// checkWritable checks at the start that files can be created in a folder, instead of
// at the first download.
func checkWritable(dir string) error {
	file, err := os.CreateTemp(dir, ".klinghook-*.tmp")
	if err != nil {
		return err
	}
	return errors.Join(file.Close(), os.Remove(file.Name()))
}

// missingDirs returns the directories whose entries change when dir is created: it and
// those above it, up to the first that exists. It returns nothing for an empty dir.
func missingDirs(dir string) []string {
	var dirs []string
	for dir != "" {
		_, err := os.Stat(dir)
		if err == nil && len(dirs) == 0 {
			return nil
		}
		dirs = append(dirs, dir)
		parent := filepath.Dir(dir)
		if !errors.Is(err, fs.ErrNotExist) || parent == dir {
			break
		}
		dir = parent
	}
	return dirs
}

// syncDirs makes the entries of directories durable.
func syncDirs(dirs []string) error {
	for _, dir := range dirs {
		file, err := os.Open(dir)
		if err != nil {
			return fmt.Errorf("sync folder: %w", err)
		}
		err = file.Sync()
		// Some network and user-space file systems cannot sync directories.
		if errors.Is(err, syscall.EINVAL) || errors.Is(err, errors.ErrUnsupported) {
			err = nil
		}
		if err = errors.Join(err, file.Close()); err != nil {
			return fmt.Errorf("sync folder: %w", err)
		}
	}
	return nil
}
