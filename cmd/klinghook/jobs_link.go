package main

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/klinghook/klinghook/config"
	"github.com/klinghook/klinghook/internal/admin/dashboard"
	"github.com/klinghook/klinghook/worker/media"
)

// signTimeout limits the search for a cloud's credentials.
const signTimeout = 5 * time.Second

// signLinks adds signed links to stored files, if the bucket can sign links.
func signLinks(ctx context.Context, files []dashboard.Media, cfg *config.Config) (err error) {
	isStored := func(file dashboard.Media) bool { return !file.StoredAt.IsZero() }
	// A folder signs none, and opening it would create it.
	if cfg.StoredLinkLifetime <= 0 || strings.HasPrefix(cfg.BucketURL, "file:") || !slices.ContainsFunc(files, isStored) {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, signTimeout)
	defer cancel()
	bucket, err := media.OpenBucket(ctx, cfg.BucketURL)
	if err != nil {
		return err
	}
	defer closeInto(&err, bucket.Close)
	var errs []error
	for i, file := range files {
		if !isStored(file) {
			continue
		}
		link, err := bucket.SignedURL(ctx, file.Object, cfg.StoredLinkLifetime)
		if link != "" {
			files[i].DownloadURL, files[i].DownloadURLExpiresAt = link, time.Now().Add(cfg.StoredLinkLifetime).UTC().Truncate(time.Second)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}
