-- name: add
-- Add events that are not known yet, each with the variant and provider of its delivery.
INSERT INTO event (id, at, kind, blast_id, subscriber_id, variant, provider, link,
                   label, reasons, rules, agent, ip, body)
SELECT n.id, n.at, n.kind::event_kind, n.blast_id,
       coalesce(n.subscriber_id, o.subscriber_id), d.variant, d.provider, n.link, n.label::event_label,
       string_to_array(n.reasons, ' '), n.rules, n.agent, n.ip::inet, n.body::jsonb
FROM unnest(:ids::uuid[], :ats::timestamptz[], :kinds::text[], :blasts::bigint[],
            :subscribers::bigint[], :links::integer[], :labels::text[],
            :reasons::text[], :rules::smallint[], :agents::text[], :ips::text[],
            :bodies::text[], :seqs::integer[])
     AS n (id, at, kind, blast_id, subscriber_id, link, label, reasons, rules, agent,
           ip, body, seq)
LEFT JOIN delivery o ON o.blast_id = n.blast_id AND o.seq = n.seq
LEFT JOIN LATERAL (
    SELECT coalesce(d.variant, r.variant) AS variant, d.provider
    FROM delivery d
    JOIN round r ON r.blast_id = d.blast_id AND r.number = d.round
    WHERE d.blast_id = n.blast_id
      AND d.subscriber_id = coalesce(n.subscriber_id, o.subscriber_id)
    ORDER BY d.occasion
    LIMIT 1
) d ON true
ORDER BY n.id
ON CONFLICT (id) DO NOTHING
RETURNING id, at, kind, blast_id, subscriber_id, variant, provider, label, link, agent,
          host(ip) AS network, reasons;

-- name: begin_engagements
-- Make the rows of people who react to a blast for the first time.
INSERT INTO engagement (subscriber_id, blast_id)
SELECT n.subscriber_id, n.blast_id
FROM unnest(:subscribers::bigint[], :blasts::bigint[]) AS n (subscriber_id, blast_id)
ORDER BY n.subscriber_id, n.blast_id
ON CONFLICT (subscriber_id, blast_id) DO NOTHING;

-- name: lock_engagements
-- Read the rows of these people for change, in the order of their key.
SELECT e.subscriber_id, e.blast_id,
       e.opened_at, e.last_opened_at, e.machine_opened_at, e.last_machine_opened_at,
       e.clicked_at, e.last_clicked_at, e.machine_clicked_at, e.last_machine_clicked_at,
       e.unsubscribed_at, e.complained_at, e.returned_at
FROM engagement e
JOIN unnest(:subscribers::bigint[], :blasts::bigint[]) AS n (subscriber_id, blast_id)
    USING (subscriber_id, blast_id)
ORDER BY e.subscriber_id, e.blast_id
FOR UPDATE OF e;

-- name: save_engagements
-- Write what is now known of these people.
UPDATE engagement e
SET opened_at = n.opened_at,
    last_opened_at = n.last_opened_at,
    machine_opened_at = n.machine_opened_at,
    last_machine_opened_at = n.last_machine_opened_at,
    clicked_at = n.clicked_at,
    last_clicked_at = n.last_clicked_at,
    machine_clicked_at = n.machine_clicked_at,
    last_machine_clicked_at = n.last_machine_clicked_at,
    unsubscribed_at = n.unsubscribed_at,
    complained_at = n.complained_at,
    returned_at = n.returned_at
FROM unnest(:subscribers::bigint[], :blasts::bigint[],
            :opened::timestamptz[], :last_opened::timestamptz[],
            :machine_opened::timestamptz[], :last_machine_opened::timestamptz[],
            :clicked::timestamptz[], :last_clicked::timestamptz[],
            :machine_clicked::timestamptz[], :last_machine_clicked::timestamptz[],
            :unsubscribed::timestamptz[], :complained::timestamptz[],
            :returned::timestamptz[])
     AS n (subscriber_id, blast_id, opened_at, last_opened_at, machine_opened_at,
           last_machine_opened_at, clicked_at, last_clicked_at, machine_clicked_at,
           last_machine_clicked_at, unsubscribed_at, complained_at, returned_at)
WHERE e.subscriber_id = n.subscriber_id AND e.blast_id = n.blast_id;

-- name: end_temporary_suppressions
-- Take away what would have run out, so that the unsubscribe stands and is told.
DELETE FROM suppression p
USING unnest(:subscribers::bigint[], :blasts::bigint[]) AS n (subscriber_id, blast_id)
JOIN subscriber s ON s.id = n.subscriber_id
LEFT JOIN blast b ON b.id = n.blast_id
WHERE p.address = s.address
  AND p.topic IS NOT DISTINCT FROM b.topic
  AND p.expires_at IS NOT NULL;

-- name: suppress_unsubscribed
-- Suppress those who unsubscribed on the topic of the blast; on all if it is gone.
INSERT INTO suppression (address, topic, reason, source)
SELECT DISTINCT ON (s.address, b.topic)
       s.address, b.topic, 'unsubscribe'::suppression_reason,
       'blast ' || coalesce(b.name, n.blast_id::text)
FROM unnest(:subscribers::bigint[], :blasts::bigint[]) AS n (subscriber_id, blast_id)
JOIN subscriber s ON s.id = n.subscriber_id
LEFT JOIN blast b ON b.id = n.blast_id
ORDER BY s.address, b.topic, n.blast_id
ON CONFLICT ON CONSTRAINT suppression_is_once DO NOTHING;

-- name: returned
-- What the ledger says of messages that came back, and in how many blasts of late such
-- a thing came back from the same person, whom no human eye has seen reading since.
SELECT n.id, s.address, b.name AS blast, d.state::text AS state, d.settled_at,
       (SELECT count(DISTINCT e.blast_id)
        FROM event e
        WHERE e.subscriber_id = n.subscriber_id AND e.kind = 'bounce'
          AND e.body ->> 'action' IN ('count', 'suppress')
          AND e.at > n.at - :within::interval AND e.at <= n.at
          AND NOT EXISTS (
              SELECT FROM engagement g
              WHERE g.subscriber_id = e.subscriber_id
                AND greatest(g.last_opened_at, g.last_clicked_at) > e.at
          )) AS blasts
FROM unnest(:ids::uuid[], :subscribers::bigint[], :blasts::bigint[],
            :ats::timestamptz[]) AS n (id, subscriber_id, blast_id, at)
JOIN subscriber s ON s.id = n.subscriber_id
JOIN blast b ON b.id = n.blast_id
JOIN LATERAL (
    SELECT l.state, l.settled_at
    FROM delivery l
    WHERE l.blast_id = n.blast_id AND l.subscriber_id = n.subscriber_id
    ORDER BY l.occasion
    LIMIT 1
) d ON true
ORDER BY n.id;

-- name: add_to_rollup
-- Add to the counters, in the order of their key; of blasts that exist.
INSERT INTO rollup (blast_id, variant, provider, hour, opens, machine_opens, clicks,
                    machine_clicks, unsubscribes, complaints, returned, donors, gifts,
                    money)
SELECT n.blast_id, n.variant, n.provider, n.hour, n.opens, n.machine_opens, n.clicks,
       n.machine_clicks, n.unsubscribes, n.complaints, n.returned, n.donors, n.gifts,
       n.money
FROM unnest(:blasts::bigint[], :variants::smallint[], :providers::text[],
            :hours::timestamptz[], :opens::bigint[], :machine_opens::bigint[],
            :clicks::bigint[], :machine_clicks::bigint[], :unsubscribes::bigint[],
            :complaints::bigint[], :returned::bigint[], :donors::bigint[], :gifts::bigint[],
            :money::numeric[])
     AS n (blast_id, variant, provider, hour, opens, machine_opens, clicks,
           machine_clicks, unsubscribes, complaints, returned, donors, gifts, money)
JOIN blast b ON b.id = n.blast_id
ORDER BY n.blast_id, n.variant, n.provider, n.hour
ON CONFLICT (blast_id, variant, provider, hour) DO UPDATE
SET opens = rollup.opens + excluded.opens,
    machine_opens = rollup.machine_opens + excluded.machine_opens,
    clicks = rollup.clicks + excluded.clicks,
    machine_clicks = rollup.machine_clicks + excluded.machine_clicks,
    unsubscribes = rollup.unsubscribes + excluded.unsubscribes,
    complaints = rollup.complaints + excluded.complaints,
    returned = rollup.returned + excluded.returned,
    donors = rollup.donors + excluded.donors,
    gifts = rollup.gifts + excluded.gifts,
    money = rollup.money + excluded.money;

-- name: by_kind
-- Count what was recorded, for the metrics.
SELECT kind::text AS kind, sum(people)::bigint AS people
FROM rollup r
CROSS JOIN LATERAL (
    VALUES ('open', r.opens + r.machine_opens), ('click', r.clicks + r.machine_clicks),
           ('unsubscribe', r.unsubscribes), ('complaint', r.complaints),
           ('bounce', r.returned), ('donation', r.gifts)
) AS k (kind, people)
GROUP BY kind
ORDER BY kind;
