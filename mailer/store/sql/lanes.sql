-- name: wanted
-- List lanes that have work and a free connection: first those that nobody serves,
-- then by the urgency of their blast, then by how much of their limit is used.
-- Providers are found by the index of ready chunks, one step each, so many at most
-- after a given one: neither idle lanes nor the length of their queues cost anything.
WITH RECURSIVE work AS (
    SELECT b.priority, b.expires_at, b.id, r.number
    FROM blast b
    JOIN round r ON r.blast_id = b.id AND r.released_at IS NOT NULL
    WHERE b.state IN ('testing', 'deciding', 'sending')
), queue AS (
    SELECT w.priority, w.expires_at, w.id, w.number, first.provider, first.pool,
           1 AS depth
    FROM work w
    CROSS JOIN LATERAL (
        SELECT c.provider, c.pool FROM chunk c
        WHERE c.blast_id = w.id AND c.round = w.number AND c.state = 'ready'
          AND c.provider > :after
        ORDER BY c.provider, c.pool
        LIMIT 1
    ) AS first
    UNION ALL
    SELECT q.priority, q.expires_at, q.id, q.number, next.provider, next.pool,
           q.depth + 1
    FROM queue q
    CROSS JOIN LATERAL (
        SELECT c.provider, c.pool FROM chunk c
        WHERE c.blast_id = q.id AND c.round = q.number AND c.state = 'ready'
          AND (c.provider, c.pool) > (q.provider, q.pool)
        ORDER BY c.provider, c.pool
        LIMIT 1
    ) AS next
    WHERE q.depth < :limit
), ready AS (
    SELECT DISTINCT ON (q.provider, q.pool)
           q.provider, q.pool, q.priority, q.expires_at, q.id
    FROM queue q
    WHERE EXISTS (
        SELECT FROM chunk c
        WHERE c.blast_id = q.id AND c.round = q.number AND c.provider = q.provider
          AND c.pool = q.pool AND c.state = 'ready' AND c.start_at <= mailer_now()
    )
    ORDER BY q.provider, q.pool, q.priority DESC, q.expires_at, q.id
), last AS (
    -- Where the next look goes on; NULL: all were seen.
    SELECT min(provider) AS provider FROM queue WHERE depth = :limit
)
SELECT f.provider, f.source, f.pool, f.taken, last.provider AS last
FROM last
LEFT JOIN (
    SELECT l.provider, l.source, l.pool, open.taken::integer AS taken, l.connections,
           ready.priority, ready.expires_at, ready.id
    FROM ready
    JOIN lane l ON l.provider = ready.provider AND l.pool = ready.pool
               AND l.source = ANY(:sources::text[])
    CROSS JOIN LATERAL (
        SELECT count(*) AS taken FROM slot s
        WHERE s.provider = l.provider AND s.source = l.source
          AND s.lease_until > clock_timestamp()
    ) AS open
    WHERE l.mode <> 'halted' AND l.not_before <= lane_now()
      AND open.taken < l.connections
) AS f ON true
ORDER BY f.taken > 0, f.priority DESC, f.expires_at, f.id,
         f.taken::float / f.connections, random();

-- name: lock
-- Have a lane for ourselves until the transaction ends; also one that is closed.
SELECT l.provider, l.source, l.pool, l.mode::text AS mode, l.rate, l.connections,
       GREATEST(l.not_before, 'epoch') AS not_before, l.reason, l.memory,
       l.start, l.ceiling, l.most, l.is_warming
FROM lane l
WHERE l.provider = :provider AND l.source = :source
FOR UPDATE;

-- name: clock
-- Read the clock that lanes live by.
SELECT lane_now();

-- name: add
-- Have a lane that nobody knows yet.
INSERT INTO lane (provider, source, pool, connections)
VALUES (:provider, :source, :pool, :connections)
ON CONFLICT (provider, source) DO NOTHING;

-- name: allow
-- Write what the settings say of a locked lane.
UPDATE lane
SET pool = :pool, start = :start, ceiling = :ceiling, most = :most,
    is_warming = :is_warming
WHERE provider = :provider AND source = :source;

-- name: save
-- Write what became of a locked lane.  Another rate changes no debt: what was taken
-- and is not paid for stays the same number of messages.
UPDATE lane l
SET arrival = CASE WHEN l.arrival > lane_now()
                        AND l.rate <> :rate::double precision
                   THEN lane_now() + (l.arrival - lane_now())
                                            * (l.rate / :rate::double precision)
                   ELSE l.arrival END,
    mode = :mode::lane_mode, rate = :rate::double precision,
    connections = :connections, not_before = :not_before, reason = :reason,
    memory = :memory
WHERE l.provider = :provider AND l.source = :source;

-- name: record
-- Keep a step of a lane.
INSERT INTO transition (
    provider, source, at, cause, before, after, rate_before, rate_after,
    connections_before, connections_after, until, reply
)
VALUES (
    :provider, :source, :at, :cause, :before::lane_mode, :after::lane_mode,
    :rate_before, :rate_after, :connections_before, :connections_after, :until, :reply
);

-- name: transitions
-- List the latest steps of lanes, the newest first.
SELECT provider, source, at, cause, before::text AS before, after::text AS after,
       rate_before, rate_after, connections_before, connections_after, until, reply
FROM transition
WHERE (:provider::text IS NULL OR provider = :provider)
  AND (:source::text IS NULL OR source = :source)
ORDER BY id DESC
LIMIT :limit;

-- name: forget
-- Forget steps that are older than anybody asks for.
DELETE FROM transition WHERE at < lane_now() - :age::interval;

-- name: grant
-- Take up to so many tokens of a lane and of what it shares (GCRA), or say when there
-- will be one.  They live for a while after this: what may still be used counts
-- against the burst.  The arithmetic is that of core.throttle, on the server's clock.
WITH mine AS MATERIALIZED (
    SELECT l.provider, l.source, l.rate, l.arrival, l.mode, l.not_before, l.is_warming
    FROM lane l
    WHERE l.provider = :provider AND l.source = :source
    FOR UPDATE
), today AS MATERIALIZED (
    SELECT d.day, d.quota, d.used
    FROM lane_day d
    WHERE (d.provider, d.source) = (SELECT provider, source FROM mine WHERE is_warming)
      AND d.day = (lane_now() AT TIME ZONE 'UTC')::date
), shared AS MATERIALIZED (
    -- In one order, after the lane: nobody waits for each other in a circle.
    SELECT c.name, c.rate, c.arrival, c.daily, c.day, c.used
    FROM cap c
    WHERE EXISTS (
        SELECT FROM mine m
        WHERE (c.provider IS NULL OR c.provider = m.provider)
          AND (c.source IS NULL OR c.source = m.source)
    ) AND (c.domain IS NULL OR c.domain = ANY(:domains::text[]))
    ORDER BY c.name
    FOR UPDATE
), clock AS MATERIALIZED (
    -- Read when all rows are ours: not before others have used them.
    SELECT lane_now() AS now, locked.shares
    FROM (SELECT count(*) AS shares FROM mine LEFT JOIN shared ON true) AS locked
), meter AS MATERIALIZED (
    SELECT rate, arrival, NULL::integer AS rest FROM mine
    UNION ALL
    SELECT NULL, NULL, quota - used FROM today
    UNION ALL
    SELECT s.rate, s.arrival,
           s.daily - CASE WHEN s.day = (c.now AT TIME ZONE 'UTC')::date
                          THEN s.used ELSE 0 END
    FROM shared s CROSS JOIN clock c
), room AS MATERIALIZED (
    SELECT m.rate, m.rest,
           GREATEST(1, m.rate * :depth::double precision) AS depth,
           GREATEST(0, extract(epoch FROM
               GREATEST(m.arrival, c.now) - c.now)::double precision) AS late
    FROM meter m CROSS JOIN clock c
), least AS MATERIALIZED (
    SELECT min(LEAST(floor(depth - rate * late + 1e-6), rest)) AS tokens,
           max(CASE WHEN rest <= 0 THEN 60 ELSE late - (depth - 1) / rate END) AS wait,
           min(CASE WHEN rate IS NOT NULL
                    THEN GREATEST(1, floor(rate * :moment::double precision)) END) AS worth
    FROM room
    WHERE rate IS NOT NULL OR rest IS NOT NULL
), granted AS (
    SELECT m.provider, m.source, c.now, l.wait, t.day,
           m.is_warming AND t.day IS NULL AS is_stale,
           m.mode IN ('suspended', 'halted') OR m.not_before > c.now AS is_closed,
           CASE WHEN m.mode IN ('suspended', 'halted') OR m.not_before > c.now
                     OR m.is_warming AND t.day IS NULL THEN 0
                ELSE GREATEST(0, LEAST(:want::integer, l.worth, l.tokens))
           END::integer AS tokens
    FROM mine m CROSS JOIN clock c CROSS JOIN least l LEFT JOIN today t ON true
), of_lane AS (
    UPDATE lane l
    SET arrival = GREATEST(l.arrival, g.now)
                  + make_interval(secs => ceil(g.tokens / l.rate * 1e6) / 1e6)
    FROM granted g
    WHERE l.provider = g.provider AND l.source = g.source AND g.tokens > 0
      AND l.rate IS NOT NULL
), of_day AS (
    UPDATE lane_day d SET used = d.used + g.tokens
    FROM granted g
    WHERE d.provider = g.provider AND d.source = g.source AND d.day = g.day
      AND g.tokens > 0
), of_caps AS (
    UPDATE cap c
    SET arrival = CASE WHEN c.rate IS NULL THEN c.arrival
                       ELSE GREATEST(c.arrival, g.now)
                            + make_interval(secs => ceil(g.tokens / c.rate * 1e6) / 1e6)
                  END,
        used = g.tokens + CASE WHEN c.day = (g.now AT TIME ZONE 'UTC')::date
                               THEN c.used ELSE 0 END,
        day = (g.now AT TIME ZONE 'UTC')::date
    FROM granted g, shared s
    WHERE c.name = s.name AND g.tokens > 0
)
SELECT tokens, is_closed, is_stale, now AS at,
       make_interval(secs => GREATEST(0, wait)) AS wait
FROM granted;

-- name: all
-- List the lanes.
SELECT l.provider, l.source, l.pool, l.mode::text AS mode, l.rate, l.connections,
       GREATEST(l.not_before, 'epoch') AS not_before, l.reason,
       (SELECT count(*) FROM slot s
        WHERE s.provider = l.provider AND s.source = l.source
          AND s.lease_until > clock_timestamp())::integer AS taken,
       l.ceiling, l.most, d.quota, d.used, l.start, l.is_warming,
       l.memory IS NOT NULL AS is_known
FROM lane l
LEFT JOIN lane_day d ON d.provider = l.provider AND d.source = l.source
    AND l.is_warming AND d.day = (lane_now() AT TIME ZONE 'UTC')::date
ORDER BY l.provider, l.source;
