package media

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"gocloud.dev/gcerrors"
)

// checkObject is the name of the object that Check writes.
const checkObject = ".klinghook-check"

var errUnchecked = errors.New("no object has been written to the bucket yet")

// Check writes and deletes an object, so that a missing or read-only bucket shows when
// a process starts instead of at the first download.
func (b *Bucket) Check(ctx context.Context) error {
	advice := "does KLINGHOOK_BUCKET_URL (--bucket-url) name a bucket that exists, and do the credentials allow writing and deleting objects in it?"
	if err := b.blob.WriteAll(ctx, checkObject, []byte("klinghook"), nil); err != nil {
		return fmt.Errorf("write to bucket %s: %w; %s", b.Location(""), err, advice)
	}
	// Another process may check at the same time.
	if err := b.blob.Delete(ctx, checkObject); err != nil && gcerrors.Code(err) != gcerrors.NotFound {
		return fmt.Errorf("delete from bucket %s: %w; %s", b.Location(""), err, advice)
	}
	b.checked.Store(true)
	return nil
}

// Checked returns an error until Check has succeeded once. It does not contact the
// bucket.
func (b *Bucket) Checked(context.Context) error {
	if !b.checked.Load() {
		return errUnchecked
	}
	return nil
}

// IsTemporary reports whether an error of [Bucket.Check] may pass by itself. All may, except
// the bucket's answer that the request is wrong.
func IsTemporary(err error) bool {
	var answer interface{ HTTPStatusCode() int } // of S3; gcerrors knows few of its codes
	if errors.As(err, &answer) {
		status := answer.HTTPStatusCode()
		return status >= 500 || status == http.StatusRequestTimeout || status == http.StatusTooManyRequests
	}
	permanent := []gcerrors.ErrorCode{gcerrors.NotFound, gcerrors.PermissionDenied, gcerrors.InvalidArgument, gcerrors.FailedPrecondition, gcerrors.Unimplemented}
	return !slices.Contains(permanent, gcerrors.Code(err))
}
