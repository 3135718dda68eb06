-- name: add
-- Suppress each address once; a stronger reason replaces a weaker, an expired one ends.
WITH wanted AS (
    SELECT DISTINCT ON (address, topic) address, topic, reason, note, expires_at
    FROM unnest(
        :addresses::text[], :topics::text[], :reasons::suppression_reason[], :notes::text[],
        :expiries::timestamptz[]
    ) AS given (address, topic, reason, note, expires_at)
    ORDER BY address, topic, array_position(:strongest_first::suppression_reason[], reason)
),
added AS (
    INSERT INTO suppression AS s (address, topic, reason, source, note, expires_at)
    SELECT address, topic, reason, :source, note, expires_at FROM wanted
    ORDER BY address, topic
    ON CONFLICT (address, topic) DO UPDATE
    SET reason = EXCLUDED.reason,
        source = EXCLUDED.source,
        note = COALESCE(EXCLUDED.note, s.note),
        created_at = CASE WHEN s.expires_at <= mailer_now() THEN mailer_now()
                          ELSE s.created_at END,
        expires_at = EXCLUDED.expires_at
    WHERE s.expires_at <= mailer_now()
       OR array_position(:strongest_first::suppression_reason[], EXCLUDED.reason)
          < array_position(:strongest_first::suppression_reason[], s.reason)
    RETURNING s.address, s.topic, s.reason, s.xmax = 0 AS created
),
told AS (  -- the trigger tells of new entries only
    INSERT INTO change (address) SELECT address FROM added WHERE NOT created
)
SELECT address, topic, reason, created FROM added ORDER BY address, topic;

-- name: remove
-- Lift one entry and return what it was.
DELETE FROM suppression
WHERE address = :address AND topic IS NOT DISTINCT FROM :topic
RETURNING address, topic, reason, source, note, created_at, expires_at;

-- name: get
-- One entry, locked until the transaction ends.
SELECT address, topic, reason, source, note, created_at, expires_at
FROM suppression
WHERE address = :address AND topic IS NOT DISTINCT FROM :topic
FOR UPDATE;

-- name: about
-- Every entry about one person: the address itself and its domain.
SELECT address, topic, reason, source, note, created_at, expires_at
FROM suppression
WHERE address IN (:address, :domain) AND (expires_at IS NULL OR expires_at > mailer_now())
ORDER BY address DESC, topic NULLS FIRST;

-- name: find
-- Which of these people must not be mailed on a topic, and the strongest reason why.
SELECT s.id AS subscriber_id, why.address, why.topic, why.reason
FROM subscriber s
CROSS JOIN LATERAL (
    SELECT x.address, x.topic, x.reason
    FROM suppression x
    WHERE x.address IN (s.address, '@' || s.domain)
      AND (x.topic IS NULL OR x.topic = :topic)
      AND (x.expires_at IS NULL OR x.expires_at > mailer_now())
    ORDER BY array_position(:strongest_first::suppression_reason[], x.reason)
    LIMIT 1
) AS why
WHERE s.id = ANY(:ids::bigint[])
ORDER BY s.id;

-- name: page
-- The entries after a cursor whose address or note holds a text.
SELECT id, address, topic, reason, source, note, created_at, expires_at
FROM suppression
WHERE id > :after
  AND (:search::text IS NULL OR strpos(address, :search) > 0 OR strpos(note, :search) > 0)
  AND (:reason::suppression_reason IS NULL OR reason = :reason)
ORDER BY id
LIMIT :size;

-- name: newest
-- The latest entries whose address or note holds a text.
SELECT address, topic, reason, source, note, created_at, expires_at
FROM suppression
WHERE (:search::text IS NULL OR strpos(address, :search) > 0 OR strpos(note, :search) > 0)
  AND (:reason::suppression_reason IS NULL OR reason = :reason)
ORDER BY id DESC
LIMIT :size;

-- name: count
-- How many entries there are, of that text and reason.
SELECT count(*)
FROM suppression
WHERE (:search::text IS NULL OR strpos(address, :search) > 0 OR strpos(note, :search) > 0)
  AND (:reason::suppression_reason IS NULL OR reason = :reason);

-- name: audit
-- Write many changes of one kind down at once.
INSERT INTO audit (actor, object, action, before, after, why)
SELECT :actor, 'suppression ' || address, :action, before, after, :why
FROM unnest(:addresses::text[], :befores::text[], :afters::text[])
     AS given (address, before, after)
ORDER BY address;
