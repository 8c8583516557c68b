-- +goose Up
CREATE TABLE events (
    id           TEXT PRIMARY KEY,
    source       TEXT NOT NULL,
    type         TEXT NOT NULL,
    job_id       TEXT NOT NULL DEFAULT '',
    received_at  TIMESTAMPTZ NOT NULL,
    secret       TEXT NOT NULL DEFAULT '',
    headers      TEXT NOT NULL DEFAULT '{}',
    body         BYTEA NOT NULL,
    processed_at TIMESTAMPTZ
);
CREATE INDEX events_by_job ON events (job_id, received_at);
CREATE INDEX events_by_time ON events (received_at);
CREATE INDEX events_unprocessed ON events (received_at) WHERE processed_at IS NULL;

CREATE TABLE jobs (
    id                TEXT PRIMARY KEY,
    status            TEXT NOT NULL,
    progress          INTEGER,
    prompt            TEXT NOT NULL DEFAULT '',
    model             TEXT NOT NULL DEFAULT '',
    duration_ms       BIGINT NOT NULL DEFAULT 0,
    error             TEXT NOT NULL DEFAULT '',
    external_id       TEXT NOT NULL DEFAULT '',
    source            TEXT NOT NULL DEFAULT '',
    contradicted      BOOLEAN NOT NULL DEFAULT FALSE,
    created_at        TIMESTAMPTZ,
    started_at        TIMESTAMPTZ,
    finished_at       TIMESTAMPTZ,
    first_received_at TIMESTAMPTZ NOT NULL,
    last_received_at  TIMESTAMPTZ NOT NULL,
    facts             TEXT NOT NULL DEFAULT '{}'
);
CREATE INDEX jobs_by_status ON jobs (status, last_received_at);
CREATE INDEX jobs_by_time ON jobs (last_received_at);

CREATE TABLE media (
    job_id       TEXT NOT NULL REFERENCES jobs (id),
    name         TEXT NOT NULL,
    url          TEXT NOT NULL,
    links        TEXT NOT NULL,
    stored_url   TEXT NOT NULL DEFAULT '',
    state        TEXT NOT NULL,
    object       TEXT NOT NULL DEFAULT '',
    size_bytes   BIGINT NOT NULL DEFAULT 0,
    sha256       TEXT NOT NULL DEFAULT '',
    content_type TEXT NOT NULL DEFAULT '',
    error        TEXT NOT NULL DEFAULT '',
    created_at   TIMESTAMPTZ NOT NULL,
    updated_at   TIMESTAMPTZ NOT NULL,
    stored_at    TIMESTAMPTZ,
    PRIMARY KEY (job_id, name)
);
CREATE INDEX media_owed ON media (created_at) WHERE state = 'pending';

CREATE TABLE notifications (
    id          TEXT PRIMARY KEY,
    job_id      TEXT NOT NULL DEFAULT '',
    event_id    TEXT NOT NULL DEFAULT '',
    type        TEXT NOT NULL,
    destination TEXT NOT NULL,
    state       TEXT NOT NULL,
    error       TEXT NOT NULL DEFAULT '',
    created_at  TIMESTAMPTZ NOT NULL,
    updated_at  TIMESTAMPTZ NOT NULL,
    sent_at     TIMESTAMPTZ
);
CREATE INDEX notifications_by_job ON notifications (job_id);
CREATE INDEX notifications_owed ON notifications (created_at) WHERE state = 'pending';

-- +goose Down
DROP TABLE notifications;
DROP TABLE media;
DROP TABLE jobs;
DROP TABLE events;
