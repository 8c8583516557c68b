package store

import (
	"context"
	"database/sql"

	"github.com/klinghook/klinghook/tasks"
)

// maxRejections is how many rejections are kept: the newest.
const maxRejections = 1000

// KeepRejection keeps a rejected delivery and deletes the oldest beyond the newest
// 1,000. Keeping one again changes nothing.
func (s *Store) KeepRejection(ctx context.Context, r tasks.Rejection) error {
	err := s.inTx(ctx, func(tx *sql.Tx) error {
		headers, err := encode(r.Headers)
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `
			INSERT INTO rejections (id, received_at, source, reason, detail, peer, headers, body)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
			ON CONFLICT (id) DO NOTHING`,
			r.ID, s.dialect.time(r.ReceivedAt), storable(r.Source), storable(r.Reason), storable(r.Detail), storable(r.Peer), headers, append([]byte{}, r.Body...))
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `
			DELETE FROM rejections WHERE id IN (
				SELECT id FROM rejections ORDER BY received_at DESC, id LIMIT 100 OFFSET $1)`, maxRejections)
		return err
	})
	return wrap(err, "keep rejection %s", r.ID)
}

// RejectionFilter selects rejections. The zero value selects all.
type RejectionFilter struct {
	Source, Reason string
	// Limit is the most rejections to return; 0 is no limit.
	Limit int
}

// Rejections returns the selected rejections, the newest first.
func (s *Store) Rejections(ctx context.Context, f RejectionFilter) ([]tasks.Rejection, error) {
	var w where
	w.andIf(f.Source != "", "source = ?", f.Source)
	w.andIf(f.Reason != "", "reason = ?", f.Reason)
	list, err := collect(ctx, s.db, func(row scanner) (r tasks.Rejection, err error) {
		err = row.Scan(&r.ID, instant{&r.ReceivedAt}, &r.Source, &r.Reason, &r.Detail, &r.Peer, asJSON{&r.Headers}, &r.Body)
		return r, err
	}, `
		SELECT id, received_at, source, reason, detail, peer, headers, body
		FROM rejections`+w.String()+` ORDER BY received_at DESC, id`+w.limit(f.Limit), w.args...)
	return list, wrap(err, "list rejections")
}
