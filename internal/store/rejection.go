package store

import (
	"context"
	"database/sql"

	"github.com/klinghook/klinghook/tasks"
)

// maxRejections is how many rejections are kept.
const maxRejections = 1000

// KeepRejection keeps a rejected delivery and deletes the oldest beyond the newest
// 1,000. Keeping one again changes nothing.
func (s *Store) KeepRejection(ctx context.Context, rejection tasks.Rejection) error {
	err := s.inTx(ctx, func(tx *sql.Tx) error {
		headers, err := encode(rejection.Headers)
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `
			INSERT INTO rejections (id, received_at, source, reason, detail, peer, headers, body)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
			ON CONFLICT (id) DO NOTHING`,
			rejection.ID, s.dialect.time(rejection.ReceivedAt), storable(rejection.Source), storable(rejection.Reason), storable(rejection.Detail), storable(rejection.Peer), headers, append([]byte{}, rejection.Body...))
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `
			DELETE FROM rejections WHERE id IN (
				SELECT id FROM rejections ORDER BY received_at DESC, id DESC LIMIT 100 OFFSET $1)`, maxRejections)
		return err
	})
	return wrap(err, "keep rejection %s", rejection.ID)
}

// RejectionFilter selects rejections. The zero value selects all.
type RejectionFilter struct {
	Source, Reason string
	// Before is the last position of the previous page; zero for the first page.
	Before Position
	// Limit is the maximum number of rejections; 0 means no limit.
	Limit int
}

// Rejections returns the selected rejections, newest first.
func (s *Store) Rejections(ctx context.Context, filter RejectionFilter) ([]tasks.Rejection, error) {
	var conditions where
	conditions.andIf(filter.Source != "", "source = ?", filter.Source)
	conditions.andIf(filter.Reason != "", "reason = ?", filter.Reason)
	conditions.before(s.dialect, filter.Before)
	list, err := collect(ctx, s.reads, func(row scanner) (rejection tasks.Rejection, err error) {
		err = row.Scan(&rejection.ID, instant{&rejection.ReceivedAt}, &rejection.Source, &rejection.Reason, &rejection.Detail, &rejection.Peer, asJSON{&rejection.Headers}, &rejection.Body)
		return rejection, err
	}, `
		SELECT id, received_at, source, reason, detail, peer, headers, body
		FROM rejections`+conditions.String()+` ORDER BY received_at DESC, id DESC`+conditions.limit(filter.Limit), conditions.args...)
	return list, wrap(err, "list rejections")
}
