-- name: insert
-- Add a blast as a draft.
INSERT INTO blast (name, topic, file, hash, send_at, expires_at, priority)
VALUES (:name, :topic, :file, :hash, :send_at, :expires_at, :priority)
ON CONFLICT (name) DO NOTHING
RETURNING id;

-- name: get
-- Read one blast by its name or its number.
SELECT id, name, state, resumes, topic, file, hash, proofed_hash, preflight_hash,
       approved_hash, send_at, expires_at, priority, seed, reason,
       created_at, launched_at, ended_at
FROM blast
WHERE name = :name OR id::text = :name
ORDER BY name = :name DESC
LIMIT 1;

-- name: all
-- List blasts, the newest first.
SELECT id, name, state, resumes, topic, file, hash, proofed_hash, preflight_hash,
       approved_hash, send_at, expires_at, priority, seed, reason,
       created_at, launched_at, ended_at
FROM blast
ORDER BY id DESC;

-- name: move
-- Change the state if it is still what the mover saw.
UPDATE blast
SET state = :after::blast_state,
    resumes = :resumes::blast_state,
    reason = COALESCE(:why, reason),
    launched_at = CASE WHEN :after::blast_state = 'launching' THEN COALESCE(launched_at, mailer_now())
                       ELSE launched_at END,
    ended_at = CASE WHEN :after::blast_state IN ('done', 'cancelled', 'expired') THEN mailer_now() END
WHERE id = :id AND state = :before
RETURNING id;

-- name: edit
-- Take over what the files say now; whatever was said of other content is void.
UPDATE blast
SET topic = :topic, hash = :hash, send_at = :send_at, expires_at = :expires_at,
    priority = :priority, proofed_hash = NULL, preflight_hash = NULL
WHERE id = :id;

-- name: mark_proofed
-- Remember which content was proofed.
UPDATE blast SET proofed_hash = hash WHERE id = :id AND hash = :hash;

-- name: mark_preflight
-- Remember which content passed the preflight.
UPDATE blast SET preflight_hash = hash WHERE id = :id AND hash = :hash;

-- name: mark_approved
-- Remember which content was approved.
UPDATE blast SET approved_hash = :hash WHERE id = :id AND hash = :hash RETURNING id;

-- name: mark_scheduled
-- Set when it starts and when it ends.
UPDATE blast SET send_at = :send_at, expires_at = :expires_at WHERE id = :id;

-- name: keep_content
-- Keep approved content; the same content is kept once.
INSERT INTO content (hash, body) VALUES (:hash, :body) ON CONFLICT (hash) DO NOTHING;

-- name: content
-- Read approved content.
SELECT body FROM content WHERE hash = :hash;

-- name: drop_variants
-- Forget the variants of a blast that is being written anew.
DELETE FROM variant WHERE blast_id = :id;

-- name: insert_variant
-- Add one variant.
INSERT INTO variant (blast_id, position, name, subject)
VALUES (:blast, :position, :name, :subject);

-- name: insert_link
-- Add one destination.
INSERT INTO link (blast_id, index, variant, url) VALUES (:blast, :index, :variant, :url);

-- name: drop_links
-- Forget the links of a blast that has not been launched.
DELETE FROM link WHERE blast_id = :id;

-- name: due
-- List the blasts that should start now, the most urgent first.
SELECT name FROM blast
WHERE state IN ('scheduled', 'launching') AND send_at <= mailer_now()
ORDER BY priority DESC, expires_at, id;

-- name: late
-- List the blasts whose time is over and that have not ended.
SELECT name FROM blast
WHERE state IN ('scheduled', 'launching', 'testing', 'deciding', 'sending', 'paused')
  AND expires_at <= mailer_now()
ORDER BY expires_at, id;

-- name: doubtful
-- List the blasts whose rule is to send again what is in doubt, and that have some.
SELECT b.name FROM blast b JOIN content c ON c.hash = b.approved_hash
WHERE b.state IN ('sending', 'done') AND b.expires_at > mailer_now()
  AND c.body ->> 'in_doubt' = 'resend'
  AND (SELECT sum(r.in_doubt) FROM rollup r WHERE r.blast_id = b.id) > 0
ORDER BY b.id;

-- name: finished
-- List the blasts of which every released delivery has its end.
SELECT name FROM blast b
WHERE state = 'sending'
  AND NOT EXISTS (SELECT FROM chunk c WHERE c.blast_id = b.id AND c.state <> 'done')
ORDER BY id;

-- name: running
-- List the blasts of which messages may start now.
SELECT id, approved_hash, topic, expires_at, priority, launched_at, name,
       mailer_now() AS asked_at
FROM blast
WHERE state IN ('testing', 'deciding', 'sending')
ORDER BY id;

-- name: unclosed
-- List the blasts that a person or the clock ended while messages were owed; what is
-- leased or lost ends by itself, or comes back here.
SELECT name FROM blast b
WHERE state IN ('cancelled', 'expired')
  AND EXISTS (SELECT FROM chunk c WHERE c.blast_id = b.id AND c.state = 'ready')
ORDER BY id;

-- name: clock
-- Read the clock of the database.
SELECT mailer_now();

-- name: audit
-- Write down who did what, and why.
INSERT INTO audit (actor, object, action, before, after, why)
VALUES (:actor, :object, :action, :before, :after, :why);

-- name: history
-- Read what was done to an object, in order.
SELECT at, actor, action, before, after, why FROM audit
WHERE object = :object
ORDER BY id;

-- name: drop
-- Forget a draft of which nothing could be read.
DELETE FROM blast WHERE id = :id AND state = 'draft' AND hash = '';

-- name: draw
-- Keep the seed of the split; the first one holds.
UPDATE blast SET seed = COALESCE(seed, :seed) WHERE id = :id RETURNING seed;
