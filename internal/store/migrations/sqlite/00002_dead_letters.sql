-- +goose Up
CREATE TABLE task_failures (
    task_id   TEXT NOT NULL,
    failed_at TEXT NOT NULL,
    attempt   INTEGER NOT NULL,
    error     TEXT NOT NULL,
    PRIMARY KEY (task_id, failed_at, attempt)
);

CREATE TABLE dead_letters (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    task_id    TEXT NOT NULL,
    kind       TEXT NOT NULL,
    payload    BLOB NOT NULL,
    job_id     TEXT NOT NULL DEFAULT '',
    event_id   TEXT NOT NULL DEFAULT '',
    error      TEXT NOT NULL,
    failures   TEXT NOT NULL DEFAULT '[]',
    failed_at  TEXT NOT NULL,
    state      TEXT NOT NULL,
    ended_at   TEXT
);
CREATE UNIQUE INDEX dead_letters_open ON dead_letters (task_id) WHERE state = 'dead';
CREATE INDEX dead_letters_by_job ON dead_letters (job_id);
CREATE INDEX dead_letters_by_event ON dead_letters (event_id) WHERE event_id <> '';
CREATE INDEX dead_letters_by_time ON dead_letters (failed_at);

-- +goose Down
DROP TABLE dead_letters;
DROP TABLE task_failures;
