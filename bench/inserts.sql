-- The three inserts that recording the first event of a job needs, in one transaction.
\set n random(1, 9000000000000000000)
BEGIN;
INSERT INTO events (id, source, type, platform, job_id, received_at, secret, headers, body, processed_at)
  VALUES ('klingai:' || :n, 'klingai', 'video.processing', 'kling', 'vid_' || :n, now(), 'sha256:0badcafe', '{"X-Kling-Signature":"sha256=0000000000000000000000000000000000000000000000000000000000000000"}', repeat('x', 550)::bytea, now())
  ON CONFLICT (id) DO NOTHING;
INSERT INTO jobs (seq, platform, id, status, progress, prompt, model, source, first_received_at, last_received_at, changed_at, facts)
  VALUES (:n, 'kling', 'vid_' || :n, 'processing', 42, repeat('p', 250), 'kling-v1.5', 'klingai', now(), now(), now(), repeat('f', 700))
  ON CONFLICT (platform, id) DO NOTHING;
INSERT INTO job_search (seq, text) VALUES (:n, 'vid_' || :n || repeat('p', 250));
COMMIT;
