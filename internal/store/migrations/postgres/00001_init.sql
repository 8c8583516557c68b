-- +goose Up
CREATE TABLE events (
    id           TEXT COLLATE "C" PRIMARY KEY,
    source       TEXT NOT NULL,
    type         TEXT NOT NULL,
    platform     TEXT COLLATE "C" NOT NULL,
    job_id       TEXT COLLATE "C" NOT NULL DEFAULT '',
    received_at  TIMESTAMPTZ NOT NULL,
    secret       TEXT NOT NULL DEFAULT '',
    headers      TEXT NOT NULL DEFAULT '{}',
    body         BYTEA NOT NULL,
    processed_at TIMESTAMPTZ
);
CREATE INDEX events_by_job ON events (platform, job_id, received_at);
CREATE INDEX events_by_time ON events (received_at, id);
CREATE INDEX events_owed ON events (received_at, id) WHERE processed_at IS NULL;
CREATE INDEX events_owed_by_job ON events (platform, job_id) WHERE processed_at IS NULL;

CREATE TABLE jobs (
    seq               BIGINT NOT NULL,
    platform          TEXT COLLATE "C" NOT NULL,
    id                TEXT COLLATE "C" NOT NULL,
    status            TEXT COLLATE "C" NOT NULL,
    progress          INTEGER,
    prompt            TEXT NOT NULL DEFAULT '',
    model             TEXT COLLATE "C" NOT NULL DEFAULT '',
    duration_ms       BIGINT NOT NULL DEFAULT 0,
    error             TEXT NOT NULL DEFAULT '',
    external_id       TEXT NOT NULL DEFAULT '',
    source            TEXT COLLATE "C" NOT NULL DEFAULT '',
    contradicted      BOOLEAN NOT NULL DEFAULT FALSE,
    costs             TEXT NOT NULL DEFAULT '[]',
    no_media          TEXT NOT NULL DEFAULT '',
    test_callback     BOOLEAN NOT NULL DEFAULT FALSE,
    created_at        TIMESTAMPTZ,
    started_at        TIMESTAMPTZ,
    finished_at       TIMESTAMPTZ,
    first_received_at TIMESTAMPTZ NOT NULL,
    last_received_at  TIMESTAMPTZ NOT NULL,
    changed_at        TIMESTAMPTZ NOT NULL,
    facts             TEXT NOT NULL DEFAULT '{}',
    metadata          TEXT NOT NULL DEFAULT '{}',
    api               TEXT NOT NULL DEFAULT '',
    tracked_at        TIMESTAMPTZ,
    lookups           INTEGER NOT NULL DEFAULT 0,
    lookup_at         TIMESTAMPTZ,
    PRIMARY KEY (platform, id),
    CONSTRAINT jobs_seq_key UNIQUE (seq) INCLUDE (platform, status, source, model)
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
    platform TEXT COLLATE "C" NOT NULL,
    job_id   TEXT COLLATE "C" NOT NULL,
    tag      TEXT COLLATE "C" NOT NULL,
    status   TEXT COLLATE "C" NOT NULL,
    source   TEXT COLLATE "C" NOT NULL,
    model    TEXT COLLATE "C" NOT NULL,
    seq      BIGINT NOT NULL,
    PRIMARY KEY (platform, job_id, tag),
    FOREIGN KEY (platform, job_id) REFERENCES jobs (platform, id) ON DELETE CASCADE
);
CREATE INDEX job_tags_by_kind ON job_tags (tag, status, source, model, seq);

-- The searchable text of each job.
CREATE EXTENSION IF NOT EXISTS pg_trgm;
CREATE TABLE job_search (
    seq  BIGINT PRIMARY KEY REFERENCES jobs (seq) ON DELETE CASCADE,
    text TEXT COLLATE "C" NOT NULL
);
CREATE INDEX job_search_index ON job_search USING gin (text gin_trgm_ops);
-- Of a text in very many jobs, these two find the newest.
CREATE INDEX job_search_sample ON job_search USING gin (text gin_trgm_ops) WHERE seq % 64 = 0;
CREATE INDEX job_search_made ON job_search USING brin ((seq >> 21));

CREATE TABLE media (
    platform     TEXT COLLATE "C" NOT NULL,
    job_id       TEXT COLLATE "C" NOT NULL,
    name         TEXT COLLATE "C" NOT NULL,
    url          TEXT NOT NULL,
    linked_at    TIMESTAMPTZ NOT NULL,
    links        TEXT NOT NULL,
    stored_url   TEXT NOT NULL DEFAULT '',
    publishing   TEXT NOT NULL DEFAULT '',
    again        BOOLEAN NOT NULL DEFAULT FALSE,
    state        TEXT NOT NULL,
    object       TEXT NOT NULL DEFAULT '',
    objects      TEXT NOT NULL DEFAULT '[]',
    size_bytes   BIGINT NOT NULL DEFAULT 0,
    sha256       TEXT NOT NULL DEFAULT '',
    content_type TEXT NOT NULL DEFAULT '',
    error        TEXT NOT NULL DEFAULT '',
    created_at   TIMESTAMPTZ NOT NULL,
    updated_at   TIMESTAMPTZ NOT NULL,
    stored_at    TIMESTAMPTZ,
    deleted_at   TIMESTAMPTZ,
    PRIMARY KEY (platform, job_id, name),
    FOREIGN KEY (platform, job_id) REFERENCES jobs (platform, id)
);
CREATE INDEX media_owed ON media (linked_at, platform, job_id, name) WHERE state = 'pending';
CREATE INDEX media_stored ON media (stored_at, platform, job_id, name) WHERE state = 'stored';
CREATE INDEX media_by_change ON media (updated_at);

CREATE TABLE notifications (
    id          TEXT COLLATE "C" PRIMARY KEY,
    platform    TEXT COLLATE "C" NOT NULL DEFAULT '',
    job_id      TEXT COLLATE "C" NOT NULL DEFAULT '',
    event_id    TEXT COLLATE "C" NOT NULL DEFAULT '',
    type        TEXT NOT NULL,
    destination TEXT COLLATE "C" NOT NULL,
    state       TEXT NOT NULL,
    error       TEXT NOT NULL DEFAULT '',
    created_at  TIMESTAMPTZ NOT NULL,
    updated_at  TIMESTAMPTZ NOT NULL,
    sent_at     TIMESTAMPTZ
);
CREATE INDEX notifications_by_job ON notifications (platform, job_id);
CREATE INDEX notifications_of_no_job ON notifications (created_at, id) WHERE job_id = '';
CREATE INDEX notifications_owed ON notifications (destination, created_at, id) WHERE state = 'pending';

CREATE TABLE destinations (
    name          TEXT COLLATE "C" PRIMARY KEY,
    configured_at TIMESTAMPTZ NOT NULL,
    attempts      BIGINT NOT NULL DEFAULT 0,
    failing_since TIMESTAMPTZ,
    paused_at     TIMESTAMPTZ,
    paused_by     TEXT NOT NULL DEFAULT '',
    probe_at      TIMESTAMPTZ,
    probes        INTEGER NOT NULL DEFAULT 0
);

CREATE TABLE destination_attempts (
    destination     TEXT COLLATE "C" NOT NULL,
    slot            INTEGER NOT NULL,
    notification_id TEXT COLLATE "C" NOT NULL,
    attempted_at    TIMESTAMPTZ NOT NULL,
    status          INTEGER NOT NULL,
    duration_ms     BIGINT NOT NULL,
    answer          TEXT NOT NULL,
    error           TEXT NOT NULL,
    PRIMARY KEY (destination, slot)
);
CREATE INDEX destination_attempts_by_notification ON destination_attempts (notification_id);

CREATE TABLE task_attempts (
    task_id      TEXT COLLATE "C" NOT NULL,
    attempted_at TIMESTAMPTZ NOT NULL,
    attempt      INTEGER NOT NULL,
    duration_ms  BIGINT NOT NULL,
    error        TEXT NOT NULL,
    size_bytes   BIGINT NOT NULL,
    PRIMARY KEY (task_id, attempted_at, attempt)
);
CREATE INDEX task_attempts_by_time ON task_attempts (attempted_at);

CREATE TABLE dead_letters (
    id         BIGINT GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
    task_id    TEXT COLLATE "C" NOT NULL,
    kind       TEXT NOT NULL,
    payload    BYTEA NOT NULL,
    platform   TEXT COLLATE "C" NOT NULL DEFAULT '',
    job_id     TEXT COLLATE "C" NOT NULL DEFAULT '',
    event_id   TEXT COLLATE "C" NOT NULL DEFAULT '',
    error      TEXT NOT NULL,
    cause      TEXT COLLATE "C" NOT NULL DEFAULT '',
    failures   TEXT NOT NULL DEFAULT '[]',
    failed_at  TIMESTAMPTZ NOT NULL,
    state      TEXT NOT NULL,
    ended_at   TIMESTAMPTZ
);
CREATE UNIQUE INDEX dead_letters_open ON dead_letters (task_id) WHERE state = 'dead';
CREATE INDEX dead_letters_open_by_id ON dead_letters (id) WHERE state = 'dead';
CREATE INDEX dead_letters_open_by_kind ON dead_letters (kind, cause, id, failed_at) WHERE state = 'dead';
CREATE INDEX dead_letters_by_job ON dead_letters (platform, job_id);
CREATE INDEX dead_letters_by_event ON dead_letters (event_id) WHERE event_id <> '';
CREATE INDEX dead_letters_by_time ON dead_letters (failed_at);
CREATE INDEX dead_letters_ended ON dead_letters (ended_at, id) WHERE state <> 'dead';

CREATE TABLE rejections (
    id          TEXT COLLATE "C" PRIMARY KEY,
    received_at TIMESTAMPTZ NOT NULL,
    source      TEXT NOT NULL,
    reason      TEXT NOT NULL,
    detail      TEXT NOT NULL DEFAULT '',
    peer        TEXT NOT NULL DEFAULT '',
    headers     TEXT NOT NULL DEFAULT '{}',
    body        BYTEA NOT NULL
);
CREATE INDEX rejections_by_time ON rejections (received_at, id);

CREATE TABLE lookup_requests (
    platform     TEXT COLLATE "C" NOT NULL,
    job_id       TEXT COLLATE "C" NOT NULL,
    api          TEXT NOT NULL DEFAULT '',
    requested_at TIMESTAMPTZ NOT NULL,
    retry_at     TIMESTAMPTZ,
    generation   INTEGER NOT NULL DEFAULT 1,
    PRIMARY KEY (platform, job_id)
);
CREATE INDEX lookup_requests_by_time ON lookup_requests (platform, coalesce(retry_at, requested_at));

CREATE TABLE lookups (
    platform    TEXT COLLATE "C" NOT NULL,
    job_id      TEXT COLLATE "C" NOT NULL,
    asked_at    TIMESTAMPTZ NOT NULL,
    duration_ms BIGINT NOT NULL,
    outcome     TEXT NOT NULL,
    error       TEXT NOT NULL,
    PRIMARY KEY (platform, job_id, asked_at)
);
CREATE INDEX lookups_by_time ON lookups (asked_at);

CREATE TABLE erasures (
    platform   TEXT COLLATE "C" NOT NULL,
    job_id     TEXT COLLATE "C" NOT NULL,
    begun_at   TIMESTAMPTZ NOT NULL,
    due_at     TIMESTAMPTZ,
    expires_at TIMESTAMPTZ,
    PRIMARY KEY (platform, job_id)
);
CREATE INDEX erasures_due ON erasures (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX erasures_by_time ON erasures (begun_at);
CREATE INDEX erasures_by_expiry ON erasures (expires_at) WHERE expires_at IS NOT NULL;

CREATE TABLE doomed_objects (
    object   TEXT COLLATE "C" PRIMARY KEY,
    retry_at TIMESTAMPTZ NOT NULL
);
CREATE INDEX doomed_objects_by_time ON doomed_objects (retry_at);
