-- name: lock
-- Have those who ask about one address take turns.
SELECT pg_advisory_xact_lock(hashtextextended(:address, 5));

-- name: add
-- Owe a question to an address, unless it has had as many as it may.
INSERT INTO confirmation (event_id, subscriber_id, address, email, asked, asked_at)
SELECT :event, :subscriber, :address, :email, :asked::jsonb, :at
WHERE (SELECT count(*) FROM confirmation c
       WHERE c.address = :address AND c.asked_at > :at::timestamptz - :within::interval)
      < :most
ON CONFLICT (event_id) DO NOTHING;

-- name: claim
-- Take questions that are due, for a while.
UPDATE confirmation c
SET due_at = clock_timestamp() + :lease, attempts = c.attempts + 1
WHERE c.id IN (
    SELECT id FROM confirmation
    WHERE sent_at IS NULL AND due_at <= clock_timestamp() AND attempts < :tries
    ORDER BY due_at, id LIMIT :limit
    FOR UPDATE SKIP LOCKED
)
RETURNING c.id, c.email, c.subscriber_id, c.asked;

-- name: sent
-- A question was taken by a server.
UPDATE confirmation SET sent_at = clock_timestamp(), error = NULL WHERE id = :id;

-- name: unsent
-- A question was not taken: why, and when again.
UPDATE confirmation SET error = :error, due_at = clock_timestamp() + :wait
WHERE id = :id;

-- name: confirm
-- Take the answer to a question that is not too old, once.
UPDATE confirmation SET confirmed_at = :at
WHERE id = :id AND confirmed_at IS NULL AND asked_at > :at::timestamptz - :within::interval
RETURNING subscriber_id, address, email, asked;

-- name: join
-- Add a person who asked for our mail; who is known stays as they are.
INSERT INTO subscriber (address, email, domain, provider, first_name, zip, language,
                        signed_up_at)
VALUES (:address, :email, :domain, :provider, :first_name, :zip, :language, :at)
ON CONFLICT (address) DO NOTHING;

-- name: welcome
-- Lift what a fresh wish of the person lifts, on these topics; what we decided stays.
DELETE FROM suppression
WHERE address = :address AND (topic IS NULL OR topic = ANY(:topics::text[]))
  AND (reason <> 'manual' OR source = 'erased');

-- name: recall
-- Forget that an address was erased: the person is back.
DELETE FROM erasure WHERE hash = erased_hash(:address);

-- name: move
-- Give a person another address, if nobody has it.
UPDATE subscriber SET address = :address, email = :email, domain = :domain,
                      provider = :provider, updated_at = mailer_now()
WHERE id = :subscriber
  AND NOT EXISTS (SELECT FROM subscriber s WHERE s.address = :address)
RETURNING id;

-- name: carry
-- Let what a person asked for at the old address hold at the new one.
INSERT INTO suppression (address, topic, reason, source, note, expires_at)
SELECT :address, x.topic, x.reason, x.source, x.note, x.expires_at
FROM suppression x JOIN subscriber s ON s.address = x.address
WHERE s.id = :subscriber AND x.reason IN ('unsubscribe', 'complaint', 'pause', 'manual')
ORDER BY x.topic
ON CONFLICT ON CONSTRAINT suppression_is_once DO NOTHING;
