-- name: take
-- Open one more connection on a locked lane, if its limit allows.
INSERT INTO slot (provider, source, owner, lease_until)
SELECT :provider, :source, :owner, clock_timestamp() + :lease
WHERE :connections::integer > (
    SELECT count(*) FROM slot s
    WHERE s.provider = :provider AND s.source = :source
      AND s.lease_until > clock_timestamp()
)
RETURNING id;

-- name: give
-- Close a connection on a lane.
DELETE FROM slot WHERE id = :id;

-- name: renew
-- Keep the connections of a process that is alive; one that lapsed is another's now.
UPDATE slot SET lease_until = clock_timestamp() + :lease
WHERE owner = :owner AND lease_until > clock_timestamp();

-- name: berths
-- List the connections that a process may keep: not lapsed, within the lane's limit
-- (of those over it, the latest go first), and the lane is open.
SELECT s.id, s.provider, s.source,
       l.rate IS NULL AND NOT l.is_warming AND NOT EXISTS (
           SELECT FROM cap c
           WHERE (c.provider IS NULL OR c.provider = l.provider)
             AND (c.source IS NULL OR c.source = l.source)
       ) AS is_unlimited,
       l.rate IS NULL AND l.mode = 'normal' AND l.connections >= l.most
           AND NOT l.is_warming AS is_at_ease
FROM slot s
JOIN lane l ON l.provider = s.provider AND l.source = s.source
WHERE s.owner = :owner AND s.lease_until > clock_timestamp()
  AND l.mode NOT IN ('suspended', 'halted') AND l.not_before <= lane_now()
  AND l.connections > (
      SELECT count(*) FROM slot o
      WHERE o.provider = s.provider AND o.source = s.source AND o.id < s.id
        AND o.lease_until > clock_timestamp()
  )
ORDER BY s.id;

-- name: drop
-- Forget the connections of a process that is gone.
DELETE FROM slot WHERE owner = :owner;

-- name: tidy
-- Forget connections whose leases ran out: they count no more and are not renewed.
DELETE FROM slot WHERE lease_until < clock_timestamp() - interval '1 second';
