-- +goose Up
ALTER TABLE jobs ADD COLUMN api TEXT NOT NULL DEFAULT '';
ALTER TABLE jobs ADD COLUMN tracked_at TIMESTAMPTZ;
ALTER TABLE jobs ADD COLUMN lookups INTEGER NOT NULL DEFAULT 0;
ALTER TABLE jobs ADD COLUMN lookup_at TIMESTAMPTZ;
CREATE INDEX jobs_never_looked_up ON jobs (last_received_at) WHERE status IN ('created', 'processing') AND lookup_at IS NULL;
CREATE INDEX jobs_to_look_up ON jobs (lookup_at) WHERE status IN ('created', 'processing') AND lookup_at IS NOT NULL;

CREATE TABLE lookup_requests (
    job_id       TEXT PRIMARY KEY,
    api          TEXT NOT NULL DEFAULT '',
    requested_at TIMESTAMPTZ NOT NULL,
    retry_at     TIMESTAMPTZ,
    generation   INTEGER NOT NULL DEFAULT 1
);
CREATE INDEX lookup_requests_by_time ON lookup_requests (coalesce(retry_at, requested_at));


-- +goose Down
DROP TABLE lookup_requests;
DROP INDEX jobs_to_look_up;
DROP INDEX jobs_never_looked_up;
ALTER TABLE jobs DROP COLUMN lookup_at;
ALTER TABLE jobs DROP COLUMN lookups;
ALTER TABLE jobs DROP COLUMN tracked_at;
ALTER TABLE jobs DROP COLUMN api;
