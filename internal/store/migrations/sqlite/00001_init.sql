-- +goose Up
CREATE TABLE events (
    id           TEXT PRIMARY KEY,
    source       TEXT NOT NULL,
    type         TEXT NOT NULL,
    platform     TEXT NOT NULL,
    job_id       TEXT NOT NULL DEFAULT '',
    received_at  TEXT NOT NULL,
    secret       TEXT NOT NULL DEFAULT '',
    headers      TEXT NOT NULL DEFAULT '{}',
    body         BLOB NOT NULL,
    processed_at TEXT
);
CREATE INDEX events_by_job ON events (platform, job_id, received_at);
CREATE INDEX events_by_time ON events (received_at, id);
CREATE INDEX events_owed ON events (received_at, id) WHERE processed_at IS NULL;
CREATE INDEX events_owed_by_job ON events (platform, job_id) WHERE processed_at IS NULL;

CREATE TABLE jobs (
    seq               INTEGER PRIMARY KEY,
    platform          TEXT NOT NULL,
    id                TEXT NOT NULL,
    status            TEXT NOT NULL,
    progress          INTEGER,
    prompt            TEXT NOT NULL DEFAULT '',
    model             TEXT NOT NULL DEFAULT '',
    duration_ms       INTEGER NOT NULL DEFAULT 0,
    error             TEXT NOT NULL DEFAULT '',
    external_id       TEXT NOT NULL DEFAULT '',
    source            TEXT NOT NULL DEFAULT '',
    contradicted      INTEGER NOT NULL DEFAULT 0,
    costs             TEXT NOT NULL DEFAULT '[]',
    no_media          TEXT NOT NULL DEFAULT '',
    test_callback     INTEGER NOT NULL DEFAULT 0,
    created_at        TEXT,
    started_at        TEXT,
    finished_at       TEXT,
    first_received_at TEXT NOT NULL,
    last_received_at  TEXT NOT NULL,
    changed_at        TEXT NOT NULL,
    facts             TEXT NOT NULL DEFAULT '{}',
    metadata          TEXT NOT NULL DEFAULT '{}',
    api               TEXT NOT NULL DEFAULT '',
    tracked_at        TEXT,
    lookups           INTEGER NOT NULL DEFAULT 0,
    lookup_at         TEXT,
    UNIQUE (platform, id)
);
CREATE INDEX jobs_by_kind ON jobs (status, source, model, seq);
CREATE INDEX jobs_by_time ON jobs (last_received_at, platform, id);
CREATE INDEX jobs_by_change ON jobs (changed_at);
CREATE INDEX jobs_never_looked_up ON jobs (platform, last_received_at) WHERE status IN ('created', 'processing') AND lookup_at IS NULL;
CREATE INDEX jobs_to_look_up ON jobs (platform, lookup_at) WHERE status IN ('created', 'processing') AND lookup_at IS NOT NULL;
CREATE INDEX jobs_without_media ON jobs (platform, lookup_at) WHERE no_media <> '';
CREATE INDEX jobs_perhaps_tests ON jobs (platform, last_received_at) WHERE test_callback AND status = 'created';

-- Jobs by tag, with the columns of jobs_by_kind.
CREATE TABLE job_tags (
    platform TEXT NOT NULL,
    job_id   TEXT NOT NULL,
    tag      TEXT NOT NULL,
    status   TEXT NOT NULL,
    source   TEXT NOT NULL,
    model    TEXT NOT NULL,
    seq      INTEGER NOT NULL,
    PRIMARY KEY (platform, job_id, tag),
    FOREIGN KEY (platform, job_id) REFERENCES jobs (platform, id) ON DELETE CASCADE
);
CREATE INDEX job_tags_by_kind ON job_tags (tag, status, source, model, seq);

-- The searchable text of each job.
CREATE TABLE job_search (
    seq  INTEGER PRIMARY KEY REFERENCES jobs (seq) ON DELETE CASCADE,
    text TEXT NOT NULL
);
CREATE VIRTUAL TABLE job_search_index USING fts5(text, content='job_search', content_rowid='seq', tokenize='trigram case_sensitive 1', detail='none', columnsize=0);
-- +goose StatementBegin
CREATE TRIGGER job_search_inserted AFTER INSERT ON job_search BEGIN
    INSERT INTO job_search_index (rowid, text) VALUES (NEW.seq, NEW.text);
END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER job_search_deleted AFTER DELETE ON job_search BEGIN
    INSERT INTO job_search_index (job_search_index, rowid, text) VALUES ('delete', OLD.seq, OLD.text);
END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER job_search_updated AFTER UPDATE ON job_search BEGIN
    INSERT INTO job_search_index (job_search_index, rowid, text) VALUES ('delete', OLD.seq, OLD.text);
    INSERT INTO job_search_index (rowid, text) VALUES (NEW.seq, NEW.text);
END;
-- +goose StatementEnd

CREATE TABLE media (
    platform     TEXT NOT NULL,
    job_id       TEXT NOT NULL,
    name         TEXT NOT NULL,
    url          TEXT NOT NULL,
    linked_at    TEXT NOT NULL,
    links        TEXT NOT NULL,
    stored_url   TEXT NOT NULL DEFAULT '',
    publishing   TEXT NOT NULL DEFAULT '',
    again        INTEGER NOT NULL DEFAULT 0,
    state        TEXT NOT NULL,
    object       TEXT NOT NULL DEFAULT '',
    objects      TEXT NOT NULL DEFAULT '[]',
    size_bytes   INTEGER NOT NULL DEFAULT 0,
    sha256       TEXT NOT NULL DEFAULT '',
    content_type TEXT NOT NULL DEFAULT '',
    error        TEXT NOT NULL DEFAULT '',
    created_at   TEXT NOT NULL,
    updated_at   TEXT NOT NULL,
    stored_at    TEXT,
    deleted_at   TEXT,
    PRIMARY KEY (platform, job_id, name),
    FOREIGN KEY (platform, job_id) REFERENCES jobs (platform, id)
);
CREATE INDEX media_owed ON media (linked_at, platform, job_id, name) WHERE state = 'pending';
CREATE INDEX media_stored ON media (stored_at, platform, job_id, name) WHERE state = 'stored';
CREATE INDEX media_by_change ON media (updated_at);

CREATE TABLE notifications (
    id          TEXT PRIMARY KEY,
    platform    TEXT NOT NULL DEFAULT '',
    job_id      TEXT NOT NULL DEFAULT '',
    event_id    TEXT NOT NULL DEFAULT '',
    type        TEXT NOT NULL,
    destination TEXT NOT NULL,
    state       TEXT NOT NULL,
    error       TEXT NOT NULL DEFAULT '',
    created_at  TEXT NOT NULL,
    updated_at  TEXT NOT NULL,
    sent_at     TEXT
);
CREATE INDEX notifications_by_job ON notifications (platform, job_id);
CREATE INDEX notifications_of_no_job ON notifications (created_at, id) WHERE job_id = '';
CREATE INDEX notifications_owed ON notifications (destination, created_at, id) WHERE state = 'pending';

CREATE TABLE destinations (
    name          TEXT PRIMARY KEY,
    configured_at TEXT NOT NULL,
    attempts      INTEGER NOT NULL DEFAULT 0,
    failing_since TEXT,
    paused_at     TEXT,
    paused_by     TEXT NOT NULL DEFAULT '',
    probe_at      TEXT,
    probes        INTEGER NOT NULL DEFAULT 0
);

CREATE TABLE destination_attempts (
    destination     TEXT NOT NULL,
    slot            INTEGER NOT NULL,
    notification_id TEXT NOT NULL,
    attempted_at    TEXT NOT NULL,
    status          INTEGER NOT NULL,
    duration_ms     INTEGER NOT NULL,
    answer          TEXT NOT NULL,
    error           TEXT NOT NULL,
    PRIMARY KEY (destination, slot)
);
CREATE INDEX destination_attempts_by_notification ON destination_attempts (notification_id);

CREATE TABLE task_attempts (
    task_id      TEXT NOT NULL,
    attempted_at TEXT NOT NULL,
    attempt      INTEGER NOT NULL,
    duration_ms  INTEGER NOT NULL,
    error        TEXT NOT NULL,
    size_bytes   INTEGER NOT NULL,
    PRIMARY KEY (task_id, attempted_at, attempt)
);
CREATE INDEX task_attempts_by_time ON task_attempts (attempted_at);

CREATE TABLE dead_letters (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    task_id    TEXT NOT NULL,
    kind       TEXT NOT NULL,
    payload    BLOB NOT NULL,
    platform   TEXT NOT NULL DEFAULT '',
    job_id     TEXT NOT NULL DEFAULT '',
    event_id   TEXT NOT NULL DEFAULT '',
    error      TEXT NOT NULL,
    cause      TEXT NOT NULL DEFAULT '',
    failures   TEXT NOT NULL DEFAULT '[]',
    failed_at  TEXT NOT NULL,
    state      TEXT NOT NULL,
    ended_at   TEXT
);
CREATE UNIQUE INDEX dead_letters_open ON dead_letters (task_id) WHERE state = 'dead';
CREATE INDEX dead_letters_open_by_id ON dead_letters (id) WHERE state = 'dead';
CREATE INDEX dead_letters_open_by_kind ON dead_letters (kind, cause, id, failed_at) WHERE state = 'dead';
CREATE INDEX dead_letters_by_job ON dead_letters (platform, job_id);
CREATE INDEX dead_letters_by_event ON dead_letters (event_id) WHERE event_id <> '';
CREATE INDEX dead_letters_by_time ON dead_letters (failed_at);
CREATE INDEX dead_letters_ended ON dead_letters (ended_at, id) WHERE state <> 'dead';

CREATE TABLE rejections (
    id          TEXT PRIMARY KEY,
    received_at TEXT NOT NULL,
    source      TEXT NOT NULL,
    reason      TEXT NOT NULL,
    detail      TEXT NOT NULL DEFAULT '',
    peer        TEXT NOT NULL DEFAULT '',
    headers     TEXT NOT NULL DEFAULT '{}',
    body        BLOB NOT NULL
);
CREATE INDEX rejections_by_time ON rejections (received_at, id);

CREATE TABLE lookup_requests (
    platform     TEXT NOT NULL,
    job_id       TEXT NOT NULL,
    api          TEXT NOT NULL DEFAULT '',
    requested_at TEXT NOT NULL,
    retry_at     TEXT,
    generation   INTEGER NOT NULL DEFAULT 1,
    PRIMARY KEY (platform, job_id)
);
CREATE INDEX lookup_requests_by_time ON lookup_requests (platform, coalesce(retry_at, requested_at));

CREATE TABLE lookups (
    platform    TEXT NOT NULL,
    job_id      TEXT NOT NULL,
    asked_at    TEXT NOT NULL,
    duration_ms INTEGER NOT NULL,
    outcome     TEXT NOT NULL,
    error       TEXT NOT NULL,
    PRIMARY KEY (platform, job_id, asked_at)
);
CREATE INDEX lookups_by_time ON lookups (asked_at);

CREATE TABLE erasures (
    platform   TEXT NOT NULL,
    job_id     TEXT NOT NULL,
    begun_at   TEXT NOT NULL,
    due_at     TEXT,
    expires_at TEXT,
    PRIMARY KEY (platform, job_id)
);
CREATE INDEX erasures_due ON erasures (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX erasures_by_time ON erasures (begun_at);
CREATE INDEX erasures_by_expiry ON erasures (expires_at) WHERE expires_at IS NOT NULL;

CREATE TABLE doomed_objects (
    object   TEXT PRIMARY KEY,
    retry_at TEXT NOT NULL
);
CREATE INDEX doomed_objects_by_time ON doomed_objects (retry_at);
