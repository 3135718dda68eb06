-- name: blasts
-- Count the blasts in each state.
SELECT state::text AS state, count(*) AS count FROM blast GROUP BY state ORDER BY state;

-- name: deliveries
-- Count the deliveries of the blasts that are going out, from their counters.
SELECT b.name, sum(r.recipients)::bigint AS recipients, sum(r.sent)::bigint AS sent,
       sum(r.bounced)::bigint AS bounced, sum(r.in_doubt)::bigint AS in_doubt,
       sum(r.suppressed)::bigint AS suppressed, sum(r.held_out)::bigint AS held_out,
       sum(r.expired)::bigint AS expired, sum(r.cancelled)::bigint AS cancelled,
       sum(r.failed)::bigint AS failed
FROM blast b
JOIN rollup r ON r.blast_id = b.id
WHERE b.state IN ('launching', 'testing', 'deciding', 'sending', 'paused')
GROUP BY b.id, b.name
ORDER BY b.id;
