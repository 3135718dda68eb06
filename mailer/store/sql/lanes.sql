-- name: ensure
-- Have a lane, with the limits that the settings give it.
INSERT INTO lane AS l (provider, source, pool, rate, burst, connections)
VALUES (:provider, :source, :pool, :rate, :burst, :connections)
ON CONFLICT (provider, source) DO UPDATE
SET pool = excluded.pool, rate = excluded.rate, burst = excluded.burst,
    connections = excluded.connections
WHERE (l.pool, l.connections) <> (excluded.pool, excluded.connections)
   OR l.rate IS DISTINCT FROM excluded.rate;

-- name: wanted
-- List the lanes that have work and a free connection, the emptiest first.
SELECT l.provider, l.source, l.pool
FROM lane l
CROSS JOIN LATERAL (
    SELECT count(*) AS taken FROM slot s
    WHERE s.provider = l.provider AND s.source = l.source
      AND s.lease_until > clock_timestamp()
) AS open
WHERE l.source = ANY(:sources::text[]) AND l.mode <> 'suspended'
  AND l.not_before <= clock_timestamp() AND open.taken < l.connections
  AND EXISTS (
      SELECT FROM blast b
      JOIN round r ON r.blast_id = b.id AND r.released_at IS NOT NULL
      JOIN chunk c ON c.blast_id = b.id AND c.round = r.number
      WHERE b.state IN ('testing', 'deciding', 'sending') AND c.provider = l.provider
        AND c.pool = l.pool AND c.state = 'ready' AND c.start_at <= mailer_now()
  )
ORDER BY open.taken, random();

-- name: lock
-- Let one process at a time count the connections of a lane that may be used.
SELECT connections FROM lane
WHERE provider = :provider AND source = :source AND mode <> 'suspended'
  AND not_before <= clock_timestamp()
FOR UPDATE;

-- name: take_slot
-- Open one more connection on a locked lane, if its limit allows.
INSERT INTO slot (provider, source, owner, lease_until)
SELECT :provider, :source, :owner, clock_timestamp() + :lease
WHERE :connections::integer > (
    SELECT count(*) FROM slot s
    WHERE s.provider = :provider AND s.source = :source
      AND s.lease_until > clock_timestamp()
)
RETURNING id;

-- name: give_slot
-- Close a connection on a lane.
DELETE FROM slot WHERE id = :id;

-- name: renew_slots
-- Keep the connections of a process that is alive; one that lapsed is another's now.
UPDATE slot SET lease_until = clock_timestamp() + :lease
WHERE owner = :owner AND lease_until > clock_timestamp();

-- name: drop_slots
-- Forget the connections of a process that is gone.
DELETE FROM slot WHERE owner = :owner;

-- name: tidy_slots
-- Forget connections whose leases ran out: they count no more and are not renewed.
DELETE FROM slot WHERE lease_until < clock_timestamp() - interval '1 second';

-- name: grant
-- Take up to so many tokens of a lane (GCRA); unlimited lanes are not asked.
UPDATE lane l
SET arrival = GREATEST(l.arrival, clock_timestamp())
              + make_interval(secs => granted.tokens / l.rate)
FROM (
    SELECT provider, source,
           LEAST(:want::integer, floor(
               burst - rate * GREATEST(
                   0, extract(epoch FROM arrival - clock_timestamp())
               )
           )::integer) AS tokens
    FROM lane
    WHERE provider = :provider AND source = :source AND mode <> 'suspended'
      AND not_before <= clock_timestamp()
    FOR UPDATE
) AS granted
WHERE l.provider = granted.provider AND l.source = granted.source AND granted.tokens > 0
RETURNING granted.tokens;

-- name: hold
-- Keep a lane closed for a while, and remember which reply led to it.
UPDATE lane SET not_before = GREATEST(not_before, clock_timestamp() + :wait),
                reason = :reason
WHERE provider = :provider AND source = :source;

-- name: all
-- List the lanes.
SELECT l.provider, l.source, l.pool, l.mode, l.rate, l.connections,
       GREATEST(l.not_before, 'epoch') AS not_before, l.reason,
       (SELECT count(*) FROM slot s
        WHERE s.provider = l.provider AND s.source = l.source
          AND s.lease_until > clock_timestamp()) AS taken
FROM lane l
ORDER BY l.provider, l.source;
