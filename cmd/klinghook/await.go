package main

import (
	"context"
	"crypto/tls"
	"errors"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"

	"github.com/klinghook/klinghook/internal/process"
)

// dependency is something that a process waits for when it starts.
type dependency struct {
	name      string
	check     func(context.Context) error
	temporary func(error) bool // reports whether an error may pass by itself
}

const (
	// checkTimeout bounds one check of a dependency.
	checkTimeout = 10 * time.Second
	// checkEvery is the wait between two checks.
	checkEvery = 2 * time.Second
)

// await waits for dependencies, one after the other, until ctx ends. It returns the
// first error that is not temporary.
func await(ctx context.Context, log *zap.Logger, dependencies ...dependency) error {
	for _, d := range dependencies {
		for {
			checking, cancel := context.WithTimeout(ctx, checkTimeout)
			err := d.check(checking)
			cancel()
			if err == nil {
				break
			}
			if ctx.Err() != nil || !d.temporary(err) {
				return err
			}
			log.Warn("waiting", zap.String("for", d.name), zap.Error(err))
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(checkEvery):
			}
		}
	}
	return nil
}

// isTemporaryRedisError reports whether an error of Redis may pass by itself. A refused
// login, a wrong database and a cluster node in the wrong mode do not.
func isTemporaryRedisError(err error) bool {
	var untrusted *tls.CertificateVerificationError
	var noTLS tls.RecordHeaderError
	permanent := []string{"NOAUTH", "WRONGPASS", "NOPERM", "DENIED", "AUTH", "Client sent AUTH", "invalid password", "DB index", "invalid DB index"}
	return !errors.Is(err, process.ErrClusterNode) && !errors.As(err, &untrusted) && !errors.As(err, &noTLS) &&
		!slices.ContainsFunc(permanent, func(prefix string) bool { return redis.HasErrorPrefix(err, prefix) })
}
