-- name: people
-- Read people whole, for a copy of them.
SELECT id, address, email, domain, provider, first_name, last_name, street, city, state,
       zip, country, time_zone, language, attributes, signed_up_at, created_at, updated_at
FROM subscriber
WHERE id = ANY(:ids::bigint[])
ORDER BY id;

-- name: giving
-- Read what people have given, for a copy of it.
SELECT subscriber_id, imported_count, imported_sum, imported_highest, imported_latest,
       imported_latest_at, live_count, live_sum, live_highest, live_latest,
       live_latest_at, recurring
FROM giving
WHERE subscriber_id = ANY(:ids::bigint[])
ORDER BY subscriber_id;

-- name: number
-- Have the next blast be of that number: its messages carry it.
SELECT setval(pg_get_serial_sequence('blast', 'id'), :id::bigint, false);

-- name: tried
-- Count what has been tried at least once, by the rollups.
SELECT COALESCE(sum(sent + bounced + in_doubt + failed + expired + cancelled), 0)::bigint
FROM rollup
WHERE blast_id = :blast;

-- name: untried
-- Count the chunks that are to be tried, less often than so many times so far.
SELECT count(*) FROM chunk
WHERE blast_id = :blast AND state <> 'done' AND attempt < :tries;

-- name: outcomes
-- Sum up the ledger by provider: what came of it, and when the first tries were made.
SELECT provider, count(*) AS people,
       count(*) FILTER (WHERE state = 'sent') AS sent,
       count(*) FILTER (WHERE state = 'bounced') AS bounced,
       count(*) FILTER (WHERE state = 'in_doubt') AS in_doubt,
       count(*) FILTER (WHERE state = 'failed') AS failed,
       count(*) FILTER (WHERE state = 'expired') AS expired,
       count(*) FILTER (WHERE state = 'held_out') AS held_out,
       count(*) FILTER (WHERE state IN ('owed', 'deferred')) AS open,
       min(COALESCE(dated_at, settled_at))
           FILTER (WHERE state IN ('sent', 'bounced', 'in_doubt', 'deferred')) AS first_at,
       max(COALESCE(dated_at, settled_at))
           FILTER (WHERE state IN ('sent', 'bounced', 'in_doubt', 'deferred')) AS last_at
FROM delivery
WHERE blast_id = :blast
GROUP BY provider
ORDER BY count(*) DESC, provider;

-- name: failures
-- Name the next people for whom no message could be made, and why.
SELECT d.seq, s.email, COALESCE(v.name, '') AS variant, COALESCE(d.reply, '') AS reason
FROM delivery d
JOIN subscriber s ON s.id = d.subscriber_id
LEFT JOIN variant v ON v.blast_id = d.blast_id AND v.position = d.variant
WHERE d.blast_id = :blast AND d.seq > :after AND d.state = 'failed'
ORDER BY d.seq
LIMIT :limit;

-- name: replies
-- Count what providers said where they did not take a message, the most frequent first.
SELECT provider, state::text AS state, reply, count(*) AS count
FROM delivery
WHERE blast_id = :blast AND state IN ('bounced', 'deferred') AND reply IS NOT NULL
GROUP BY provider, state, reply
ORDER BY count(*) DESC, provider, reply
LIMIT :limit;

-- name: closed
-- List the lanes that are closed, until when and why.
SELECT provider, not_before, COALESCE(reason, '') AS reason FROM lane
WHERE mode IN ('suspended', 'halted') OR not_before > lane_now()
ORDER BY provider;

-- name: analyze
-- Have the planner know how many people came.
ANALYZE;

-- name: time
-- Write the statement that makes a clock of the lanes that runs faster from now on.
SELECT format(
    'CREATE OR REPLACE FUNCTION lane_now() RETURNS timestamptz LANGUAGE sql VOLATILE AS '
    '$$ SELECT %1$L::timestamptz + (clock_timestamp() - %1$L::timestamptz) * %2$L::float $$',
    clock_timestamp(), :speed::double precision
);
