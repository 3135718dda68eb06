-- name: seen
-- Look at the blasts that should be going out, and at those of these names.
SELECT b.name, b.state::text AS state, mailer_now() AS at,
       COALESCE(b.expires_at, 'infinity') AS expires_at,
       b.state NOT IN ('scheduled', 'launching') AS is_begun,
       r.recipients, r.sent, r.ended, r.failed, r.in_doubt, r.expired, r.results,
       COALESCE(k.failed, 0) AS excused_failed, COALESCE(k.results, 0) AS excused_results,
       (b.state IN ('scheduled', 'launching') AND b.send_at <= mailer_now())
           OR COALESCE(w.is_owed, false) AS is_owed,
       b.state IN ('scheduled', 'launching') OR COALESCE(w.is_open, false) AS is_open,
       NULLIF(w.rate, 'infinity') AS rate
FROM blast b
LEFT JOIN breaker k ON k.blast_id = b.id
CROSS JOIN LATERAL (
    SELECT COALESCE(sum(u.recipients), 0)::bigint AS recipients,
           COALESCE(sum(u.sent), 0)::bigint AS sent,
           COALESCE(sum(u.failed), 0)::bigint AS failed,
           COALESCE(sum(u.in_doubt), 0)::bigint AS in_doubt,
           COALESCE(sum(u.expired), 0)::bigint AS expired,
           COALESCE(sum(u.sent + u.bounced + u.in_doubt + u.failed), 0)::bigint AS results,
           COALESCE(sum(u.bounced + u.in_doubt + u.suppressed + u.held_out + u.expired
                        + u.cancelled + u.failed), 0)::bigint AS ended
    FROM rollup u
    WHERE u.blast_id = b.id
) AS r
LEFT JOIN LATERAL (
    SELECT true AS is_owed,
           bool_or(l.provider IS NULL OR l.not_before <= clock_timestamp()
                                     AND l.mode <> 'halted') AS is_open,
           max(COALESCE(l.rate, 'infinity'))
               FILTER (WHERE l.not_before <= clock_timestamp()
                         AND l.mode <> 'halted') AS rate
    FROM (
        SELECT DISTINCT c.provider, c.pool
        FROM chunk c
        JOIN round o ON o.blast_id = c.blast_id AND o.number = c.round
        WHERE c.blast_id = b.id AND o.released_at IS NOT NULL AND c.state <> 'done'
          AND (c.state = 'leased' OR c.start_at <= mailer_now())
          AND b.state IN ('testing', 'deciding', 'sending')
    ) AS c
    LEFT JOIN lane l ON l.provider = c.provider AND l.pool = c.pool
    HAVING count(*) > 0
) AS w ON true
WHERE b.state IN ('scheduled', 'launching', 'testing', 'deciding', 'sending', 'paused')
   OR b.name = ANY(:names::text[])
ORDER BY b.id;

-- name: closed
-- List the lanes that are closed for a while and have work of a blast, and why.
SELECT DISTINCT l.provider, l.source, l.mode = 'halted' AS is_halted,
       GREATEST(l.not_before, 'epoch') AS not_before, COALESCE(l.reason, '') AS reason
FROM chunk c
JOIN blast b ON b.id = c.blast_id
JOIN lane l ON l.provider = c.provider AND l.pool = c.pool
WHERE b.name = :name AND c.state <> 'done'
  AND (l.not_before > clock_timestamp() OR l.mode = 'halted')
ORDER BY l.provider, l.source;

-- name: excuse
-- Remember how much of a blast had failed when it was paused for that.
INSERT INTO breaker (blast_id, failed, results)
VALUES (:blast, :failed, :results)
ON CONFLICT (blast_id) DO UPDATE
SET failed = excluded.failed, results = excluded.results, at = mailer_now();
