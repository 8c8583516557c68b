package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"

	"github.com/klinghook/klinghook/tasks"
)

// maxRejections is how many rejections are kept: the newest.
const maxRejections = 1000

// KeepRejection keeps a refused delivery, and drops the oldest beyond the newest
// 1,000. Keeping one again changes nothing.
func (s *Store) KeepRejection(ctx context.Context, r tasks.Rejection) error {
	headers, err := json.Marshal(r.Headers)
	if err != nil {
		return fmt.Errorf("encode headers: %w", err)
	}
	body := r.Body
	if body == nil {
		body = []byte{}
	}
	err = s.inTx(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `
			INSERT INTO rejections (id, received_at, source, reason, detail, peer, headers, body)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
			ON CONFLICT (id) DO NOTHING`,
			r.ID, s.dialect.time(r.ReceivedAt), storable(r.Source), storable(r.Reason), storable(r.Detail), storable(r.Peer), storable(string(headers)), body)
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `
			DELETE FROM rejections WHERE id IN (
				SELECT id FROM rejections ORDER BY received_at DESC, id LIMIT 100 OFFSET $1)`, maxRejections)
		return err
	})
	if err != nil {
		return fmt.Errorf("keep rejection %s: %w", r.ID, err)
	}
	return nil
}

// RejectionFilter chooses rejections. The zero value chooses all.
type RejectionFilter struct {
	Source, Reason string
	// Limit is how many are returned at most; 0 is no limit.
	Limit int
}

// Rejections returns the chosen rejections, the newest first.
func (s *Store) Rejections(ctx context.Context, f RejectionFilter) ([]tasks.Rejection, error) {
	var w where
	w.andIf(f.Source != "", "source = ?", f.Source)
	w.andIf(f.Reason != "", "reason = ?", f.Reason)
	list, err := collect(ctx, s.db, scanRejection, `
		SELECT id, received_at, source, reason, detail, peer, headers, body
		FROM rejections`+w.String()+` ORDER BY received_at DESC, id`+w.limit(f.Limit), w.args...)
	if err != nil {
		return nil, fmt.Errorf("list rejections: %w", err)
	}
	return list, nil
}

func scanRejection(row scanner) (tasks.Rejection, error) {
	var r tasks.Rejection
	var headers string
	err := row.Scan(&r.ID, instant{&r.ReceivedAt}, &r.Source, &r.Reason, &r.Detail, &r.Peer, &headers, &r.Body)
	if err != nil {
		return r, err
	}
	if err := json.Unmarshal([]byte(headers), &r.Headers); err != nil {
		return r, fmt.Errorf("decode headers: %w", err)
	}
	return r, nil
}
