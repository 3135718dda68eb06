-- name: of
-- Read what is known of a person and their choices, and the topic of a blast.
SELECT s.email, s.language, p.every, p.tracking,
       (SELECT b.topic FROM blast b WHERE b.id = :blast) AS topic,
       ARRAY(
           SELECT x.topic FROM suppression x
           WHERE x.address = s.address AND x.topic IS NOT NULL AND x.expires_at IS NULL
           ORDER BY x.topic
       ) AS unwanted,
       EXISTS (
           SELECT FROM suppression x
           WHERE x.address = s.address AND x.topic IS NULL AND x.expires_at IS NULL
       ) AS none,
       (SELECT x.expires_at FROM suppression x
        WHERE x.address = s.address AND x.topic IS NULL AND x.reason = 'pause'
          AND x.expires_at > mailer_now()) AS paused_until
FROM subscriber s
LEFT JOIN preference p ON p.subscriber_id = s.id
WHERE s.id = :subscriber;

-- name: save
-- Keep how often a person wants mail, and how much is kept of what they do with it.
INSERT INTO preference AS p (subscriber_id, every, tracking, updated_at)
SELECT s.id, CASE WHEN :every::integer > 0 THEN make_interval(days => :every) END,
       :tracking, :at
FROM subscriber s WHERE s.id = :subscriber
ON CONFLICT (subscriber_id) DO UPDATE
SET every = CASE WHEN :every::integer IS NULL THEN p.every ELSE EXCLUDED.every END,
    tracking = COALESCE(EXCLUDED.tracking, p.tracking),
    updated_at = EXCLUDED.updated_at;

-- name: tell
-- Have workers ask again about a person.
INSERT INTO change (subscriber_id) VALUES (:subscriber);

-- name: leave
-- Suppress a person on these topics, NULL for all; what would have run out first goes.
WITH given AS (
    SELECT s.address, t.topic
    FROM subscriber s CROSS JOIN unnest(:topics::text[]) AS t (topic)
    WHERE s.id = :subscriber
), gone AS (
    UPDATE suppression x
    SET reason = 'unsubscribe', source = 'preferences', expires_at = NULL,
        created_at = mailer_now()
    FROM given g
    WHERE x.address = g.address AND x.topic IS NOT DISTINCT FROM g.topic
      AND x.expires_at IS NOT NULL
    RETURNING x.address
), told AS (
    INSERT INTO change (address) SELECT address FROM gone
)
INSERT INTO suppression (address, topic, reason, source)
SELECT g.address, g.topic, 'unsubscribe', 'preferences' FROM given g
ORDER BY g.address, g.topic
ON CONFLICT ON CONSTRAINT suppression_is_once DO NOTHING;

-- name: come_back
-- Lift what a person asked for themselves on these topics, NULL for all; nothing else.
DELETE FROM suppression x
USING subscriber s
WHERE s.id = :subscriber AND x.address = s.address AND x.reason = 'unsubscribe'
  AND (x.topic = ANY(:topics::text[])
       OR (x.topic IS NULL AND array_position(:topics::text[], NULL) IS NOT NULL));

-- name: come_back_to
-- Take back the unsubscribe from the topic of a blast that came by that blast.
DELETE FROM suppression x
USING subscriber s, blast b
WHERE s.id = :subscriber AND b.id = :blast AND x.address = s.address
  AND x.topic = b.topic AND x.reason = 'unsubscribe'
  AND x.source = 'blast ' || b.name;

-- name: pause
-- Suppress a person on all topics for some days; what is for good stays for good.
INSERT INTO suppression AS x (address, topic, reason, source, created_at, expires_at)
SELECT s.address, NULL, 'pause', 'preferences', mailer_now(),
       :at::timestamptz + make_interval(days => :days::integer)
FROM subscriber s WHERE s.id = :subscriber
ON CONFLICT ON CONSTRAINT suppression_is_once DO UPDATE
SET reason = 'pause', source = EXCLUDED.source, created_at = EXCLUDED.created_at,
    expires_at = EXCLUDED.expires_at
WHERE x.expires_at IS NOT NULL;

-- name: go_on
-- End the pause of a person.
DELETE FROM suppression x
USING subscriber s
WHERE s.id = :subscriber AND x.address = s.address AND x.topic IS NULL
  AND x.reason = 'pause';

-- name: got
-- Read what a person was sent by a blast: its content, and which variant.
SELECT b.id, b.name, b.topic, b.approved_hash,
       COALESCE(d.variant, r.variant, 1) AS variant
FROM delivery d
JOIN blast b ON b.id = d.blast_id
JOIN round r ON r.blast_id = d.blast_id AND r.number = d.round
WHERE d.blast_id = :blast AND d.subscriber_id = :subscriber
  AND d.state IN ('sent', 'in_doubt', 'bounced')
ORDER BY d.occasion
LIMIT 1;
