-- name: sent_at
-- When these people were sent the message of a blast.
SELECT d.subscriber_id, d.blast_id, max(d.settled_at) AS sent_at
FROM delivery d
JOIN unnest(:subscribers::bigint[], :blasts::bigint[]) AS n (subscriber_id, blast_id)
    USING (subscriber_id, blast_id)
WHERE d.state = 'sent'
GROUP BY d.subscriber_id, d.blast_id
ORDER BY d.subscriber_id, d.blast_id;

-- name: label
-- Give events other labels, and say whose they are.
UPDATE event e
SET label = n.label::event_label, reasons = string_to_array(n.reasons, ' '),
    rules = :rules
FROM unnest(:ids::uuid[], :labels::text[], :reasons::text[]) AS n (id, label, reasons)
WHERE e.id = n.id;

-- name: by_ids
-- Read what is known of these events.
SELECT id, at, kind, blast_id, subscriber_id, variant, provider, label, link, agent,
       host(ip) AS network, reasons
FROM event WHERE id = ANY(:ids::uuid[])
ORDER BY id;

-- name: visits
-- Read the opens and clicks of these people in these blasts.
SELECT e.id, e.at, e.kind, e.blast_id, e.subscriber_id, e.variant, e.provider, e.label,
       e.link, e.agent, host(e.ip) AS network, e.reasons
FROM event e
JOIN unnest(:subscribers::bigint[], :blasts::bigint[]) AS n (subscriber_id, blast_id)
    USING (subscriber_id, blast_id)
WHERE e.kind IN ('open', 'click')
ORDER BY e.at, e.id;

-- name: since
-- Read opens and clicks after a place, in the order of their time.
SELECT e.id, e.at, e.kind, e.blast_id, e.subscriber_id, e.variant, e.provider, e.label,
       e.link, e.agent, host(e.ip) AS network, e.reasons
FROM event e
WHERE (e.at, e.id) > (:at, :id)
  AND (:blast::bigint IS NULL OR e.blast_id = :blast)
  AND e.kind IN ('open', 'click')
ORDER BY e.at, e.id
LIMIT :limit;
