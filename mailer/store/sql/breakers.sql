-- name: counts
-- How each provider took the blasts that are under way.
SELECT b.id AS blast, b.name, b.state::text AS state, u.provider,
       sum(u.sent + u.bounced + u.in_doubt)::bigint AS attempted,
       sum(u.bounced + u.returned)::bigint AS bounces,
       sum(u.complaints)::bigint AS complaints,
       sum(u.unsubscribes)::bigint AS unsubscribes
FROM blast b
JOIN rollup u ON u.blast_id = b.id
WHERE b.state IN ('testing', 'deciding', 'sending')
GROUP BY b.id, u.provider
ORDER BY b.id, u.provider;

-- name: excused
-- What was let pass of the blasts that are under way.
SELECT e.blast_id AS blast, e.provider, e.reaction, e.events, e.attempted
FROM excuse e
JOIN blast b ON b.id = e.blast_id
WHERE b.state IN ('testing', 'deciding', 'sending')
ORDER BY e.blast_id, e.provider, e.reaction;

-- name: excuse
-- Remember how much had come back when a blast was paused for that.
INSERT INTO excuse (blast_id, provider, reaction, events, attempted)
SELECT :blast, n.provider, n.reaction, n.events, n.attempted
FROM unnest(:providers::text[], :reactions::text[], :events::bigint[],
            :attempted::bigint[])
     AS n (provider, reaction, events, attempted)
ORDER BY n.provider, n.reaction
ON CONFLICT (blast_id, provider, reaction) DO UPDATE
SET events = excuse.events + excluded.events,
    attempted = excuse.attempted + excluded.attempted,
    at = mailer_now();
