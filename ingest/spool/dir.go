package spool

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/klinghook/klinghook/tasks"
)

const (
	// bucketTime is the time that a directory in new/ covers, and bucketName the format of
	// its name. Empty directories, and files in tmp/, are removed after leftOver.
	bucketTime = 10 * time.Second
	bucketName = "20060102T150405"
	leftOver   = 15 * time.Minute
	// blockSize is the assumed size of a disk block, in bytes.
	blockSize = 4096
)

// dir is a maildir. Several may share one directory.
type dir struct {
	path string

	mu sync.Mutex // guards the fields below
	// last is the time in the newest name, in nanoseconds. It only grows, so that names
	// sort in order of arrival.
	last   int64
	bucket string // the newest directory in new/
}

// usage is the size of a spool. bytes counts whole disk blocks.
type usage struct {
	events int
	bytes  int64
	oldest time.Time
}

// openDir opens the maildir at path, and creates it if needed.
func openDir(path string) (*dir, error) {
	for _, name := range []string{"tmp", "new", "bad"} {
		if err := makeDir(filepath.Join(path, name)); err != nil {
			return nil, err
		}
	}
	return &dir{path: path}, nil
}

// makeDir creates a directory and its parents, synced.
func makeDir(path string) error {
	if _, err := os.Stat(path); err == nil {
		return nil
	}
	parent := filepath.Dir(path)
	if parent != path {
		if err := makeDir(parent); err != nil {
			return err
		}
	}
	if err := os.Mkdir(path, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return syncDir(parent)
}

func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// put writes a file and returns once it is in new/, synced.
func (d *dir) put(content []byte) error {
	arrived, bucket, err := d.arrive()
	if err != nil {
		return err
	}
	name := fmt.Sprintf("%019d-%s-%d", arrived, rand.Text()[:10], len(content))
	tmp := filepath.Join(d.path, "tmp", name)
	err = writeFile(tmp, content)
	if err == nil {
		err = os.Rename(tmp, filepath.Join(bucket, name))
	}
	if err != nil {
		_ = os.Remove(tmp) // if this fails, scan removes it later
		return err
	}
	return syncDir(bucket)
}

// arrive returns a new file's time of arrival, later than all earlier ones of this dir,
// and its bucket.
func (d *dir) arrive() (nanos int64, bucket string, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	nanos = max(d.last+1, time.Now().UnixNano())
	root := filepath.Join(d.path, "new")
	bucket = filepath.Join(root, time.Unix(0, nanos).UTC().Truncate(bucketTime).Format(bucketName))
	if bucket != d.bucket {
		if err := os.Mkdir(bucket, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return 0, "", err
		}
		// Another process may have created it and not synced it yet.
		if err := syncDir(root); err != nil {
			return 0, "", err
		}
	}
	d.last, d.bucket = nanos, bucket
	return nanos, bucket, nil
}

func writeFile(path string, content []byte) error {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(content)
	if err == nil {
		err = file.Sync()
	}
	return errors.Join(err, file.Close())
}

// files calls visit with the path of each file in new/, oldest first, until it returns
// false. It removes old empty buckets.
func (d *dir) files(visit func(path string) bool) error {
	root := filepath.Join(d.path, "new")
	buckets, err := os.ReadDir(root)
	if err != nil {
		return err
	}
	for _, bucket := range buckets {
		path := filepath.Join(root, bucket.Name())
		list, err := os.ReadDir(path)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		for _, file := range list {
			if !visit(filepath.Join(path, file.Name())) {
				return nil
			}
		}
		if at, err := time.Parse(bucketName, bucket.Name()); err == nil && time.Since(at) > leftOver {
			_ = os.Remove(path) // fails unless it is empty
		}
	}
	return nil
}

// scan counts the files in new/ and removes leftovers from tmp/.
func (d *dir) scan() (u usage, err error) {
	err = d.files(func(path string) bool {
		at, size := parseName(path)
		if u.events == 0 {
			u.oldest = at
		}
		u.events++
		u.bytes += size
		return true
	})
	tmp, tmpErr := os.ReadDir(filepath.Join(d.path, "tmp"))
	for _, file := range tmp {
		if at, _ := parseName(file.Name()); time.Since(at) > leftOver {
			_ = os.Remove(filepath.Join(d.path, "tmp", file.Name())) // the next scan tries again
		}
	}
	return u, errors.Join(err, tmpErr)
}

// parseName reads the time of arrival and the size on disk from a file's name.
func parseName(path string) (at time.Time, size int64) {
	fields := strings.SplitN(filepath.Base(path), "-", 3)
	if nanos, err := strconv.ParseInt(fields[0], 10, 64); err == nil && len(fields) == 3 {
		at = time.Unix(0, nanos)
		size, _ = strconv.ParseInt(fields[2], 10, 32)
	}
	return at, blocks(size)
}

// blocks rounds a size up to whole disk blocks.
func blocks(size int64) int64 { return (size + blockSize - 1) / blockSize * blockSize }

type header struct {
	Kind  tasks.Kind `json:"kind"`
	ID    string     `json:"id"`
	Trace string     `json:"trace,omitempty"`
}

func checksum(b []byte) string {
	return fmt.Sprintf("%08x", crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)))
}

// encode returns the content of a task's file.
func encode(task tasks.Task) []byte {
	head, _ := json.Marshal(header{task.Kind, task.ID, task.Trace}) // strings never fail
	rest := slices.Concat(head, []byte("\n"), task.Payload)
	return append([]byte(checksum(rest)+" "), rest...)
}

// decode reads what encode wrote. It fails for a kind that this release does not know.
func decode(b []byte) (tasks.Task, error) {
	sum, rest, _ := bytes.Cut(b, []byte(" "))
	if string(sum) != checksum(rest) {
		return tasks.Task{}, errors.New("the checksum does not match")
	}
	head, payload, _ := bytes.Cut(rest, []byte("\n"))
	var h header
	err := json.Unmarshal(head, &h)
	if err == nil {
		_, err = tasks.PolicyOf(h.Kind)
	}
	return tasks.Task{Kind: h.Kind, ID: h.ID, Payload: payload, Trace: h.Trace}, err
}
