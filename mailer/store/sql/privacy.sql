-- name: modes
-- How much these people let be kept, of those who said so.
SELECT subscriber_id, tracking FROM preference
WHERE subscriber_id = ANY(:ids::bigint[]) AND tracking IS NOT NULL
ORDER BY subscriber_id;

-- name: count
-- Count visits that name nobody, of blasts that exist.
INSERT INTO anonymous_visit AS v (blast_id, kind, link, hour, human, machine)
SELECT n.blast_id, n.kind::event_kind, n.link, n.hour, n.human, n.machine
FROM unnest(:blasts::bigint[], :kinds::text[], :links::integer[],
            :hours::timestamptz[], :humans::bigint[], :machines::bigint[])
     AS n (blast_id, kind, link, hour, human, machine)
JOIN blast b ON b.id = n.blast_id
ORDER BY n.blast_id, n.kind, n.link, n.hour
ON CONFLICT (blast_id, kind, link, hour) DO UPDATE
SET human = v.human + excluded.human, machine = v.machine + excluded.machine;

-- name: purge
-- Remove raw events that are older than an instant; counters stay.
DELETE FROM event WHERE id IN (
    SELECT id FROM event WHERE at < :before ORDER BY at LIMIT :limit
);

-- name: export
-- Everything that is known of one person.
SELECT jsonb_build_object(
    'subscriber', to_jsonb(s),
    'giving', (SELECT to_jsonb(g) FROM giving g WHERE g.subscriber_id = s.id),
    'preference', (SELECT to_jsonb(p) FROM preference p WHERE p.subscriber_id = s.id),
    'suppressions', (
        SELECT coalesce(jsonb_agg(to_jsonb(x) ORDER BY x.id), '[]') FROM suppression x
        WHERE x.address = s.address),
    'confirmations', (
        SELECT coalesce(jsonb_agg(to_jsonb(c) ORDER BY c.id), '[]') FROM confirmation c
        WHERE c.address = s.address OR c.subscriber_id = s.id),
    'deliveries', (
        SELECT coalesce(jsonb_agg(to_jsonb(d) || jsonb_build_object('blast', b.name)
                                  ORDER BY d.blast_id, d.seq), '[]')
        FROM blast b JOIN delivery d ON d.blast_id = b.id AND d.subscriber_id = s.id),
    'events', (
        SELECT coalesce(jsonb_agg(to_jsonb(e) ORDER BY e.at, e.id), '[]') FROM event e
        WHERE e.subscriber_id = s.id),
    'engagements', (
        SELECT coalesce(jsonb_agg(to_jsonb(e) ORDER BY e.blast_id), '[]')
        FROM engagement e WHERE e.subscriber_id = s.id),
    'donations', (
        SELECT coalesce(jsonb_agg(to_jsonb(d) ORDER BY d.id), '[]') FROM donation d
        WHERE d.subscriber_id = s.id OR lower(d.email) = s.address),
    'audit', (
        SELECT coalesce(jsonb_agg(to_jsonb(a) ORDER BY a.id), '[]') FROM audit a
        WHERE a.object = 'suppression ' || s.address)
) AS everything
FROM subscriber s WHERE s.address = :address;

-- name: find
-- The number of a person, locked until the transaction ends.
SELECT id FROM subscriber WHERE address = :address FOR UPDATE;

-- name: remember
-- Keep the hash of an address that is erased.
INSERT INTO erasure (hash) VALUES (erased_hash(:address)) ON CONFLICT DO NOTHING;

-- name: forget_deliveries
-- Take out of the ledger what servers said about a person.
UPDATE delivery d SET reply = NULL
FROM blast b WHERE d.blast_id = b.id AND d.subscriber_id = :id AND d.reply IS NOT NULL;

-- name: forget_events
-- Leave of a person's events that they happened.
UPDATE event SET subscriber_id = NULL, agent = NULL, ip = NULL, body = NULL
WHERE subscriber_id = :id;

-- name: forget_engagements
-- Forget what a person reacted to; the counters stay.
DELETE FROM engagement WHERE subscriber_id = :id;

-- name: forget_donations
-- Leave of a person's gifts the amounts, which the law wants kept.
UPDATE donation SET email = NULL, subscriber_id = NULL
WHERE subscriber_id = :id OR lower(email) = :address;

-- name: forget_audit
-- Take an address out of the audit.
UPDATE audit SET object = 'suppression (erased)', before = NULL, after = NULL, why = NULL
WHERE object = 'suppression ' || :address;

-- name: forget_changes
-- Take an address out of the change feed.
DELETE FROM change WHERE address = :address;

-- name: forget_suppressions
-- Take an address out of the suppressions; the hash keeps it from coming back.
DELETE FROM suppression WHERE address = :address;

-- name: forget_confirmations
-- Forget what was asked with an address.
DELETE FROM confirmation WHERE address = :address;

-- name: forget_subscriber
-- Forget a person, and all that hangs on them.
DELETE FROM subscriber WHERE id = :id;

-- name: tell
-- Have workers ask again about a person.
INSERT INTO change (subscriber_id) VALUES (:id);
