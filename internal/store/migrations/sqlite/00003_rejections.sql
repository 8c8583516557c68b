-- +goose Up
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
CREATE INDEX rejections_by_time ON rejections (received_at);

-- +goose Down
DROP TABLE rejections;
