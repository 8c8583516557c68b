-- What store.Record and store.MarkProcessed send for an event of a job that is new,
-- statement by statement.
\set n random(1, 9000000000000000000)
BEGIN;
INSERT INTO events (id, source, type, job_id, received_at, secret, headers, body)
  VALUES ('klingai:' || :n, 'klingai', 'video.processing', 'vid_' || :n, now(), 'sha256:0badcafe', '{"X-Kling-Signature":"sha256=0000000000000000000000000000000000000000000000000000000000000000"}', repeat('x', 550)::bytea)
  ON CONFLICT (id) DO NOTHING;
SELECT processed_at IS NOT NULL,
  EXISTS (SELECT 1 FROM dead_letters d WHERE d.event_id = events.id AND d.event_id <> '' AND d.state = 'dead')
  FROM events WHERE id = 'klingai:' || :n;
INSERT INTO jobs (id, status, first_received_at, last_received_at) VALUES ('vid_' || :n, 'created', now(), now())
  ON CONFLICT (id) DO NOTHING;
SELECT facts, first_received_at, last_received_at FROM jobs WHERE id = 'vid_' || :n FOR UPDATE;
UPDATE jobs SET status = 'processing', progress = 42, prompt = repeat('p', 250), model = 'kling-v1.5', source = 'klingai',
  last_received_at = now(), facts = repeat('f', 700) WHERE id = 'vid_' || :n;
SELECT job_id, name FROM media WHERE job_id = 'vid_' || :n AND state = 'pending' ORDER BY name;
COMMIT;
UPDATE events SET processed_at = now() WHERE id = 'klingai:' || :n AND processed_at IS NULL;
