-- name: count
-- Count who is in a segment by provider, and how many of them may be mailed.
SELECT s.provider, count(*) AS total,
       count(*) FILTER (
           WHERE NOT EXISTS (
               SELECT FROM suppression x
               WHERE x.address = s.address AND x.topic IS NULL
                 AND (x.expires_at IS NULL OR x.expires_at > mailer_now())
           ) AND NOT EXISTS (
               SELECT FROM suppression x
               WHERE x.address = '@' || s.domain AND x.topic IS NULL
                 AND (x.expires_at IS NULL OR x.expires_at > mailer_now())
           )
       ) AS mailable
FROM subscriber s LEFT JOIN giving g ON g.subscriber_id = s.id
WHERE (/* segment */ true)
GROUP BY s.provider
ORDER BY count(*) DESC, s.provider;

-- name: sample
-- Show some people of a segment, the same ones each time for the same seed.
SELECT s.id, s.email, s.first_name, s.last_name, s.state, s.provider,
       COALESCE(g.count, 0) AS gifts, COALESCE(g.sum, 0) AS given, g.latest_at
FROM subscriber s LEFT JOIN giving g ON g.subscriber_id = s.id
WHERE (/* segment */ true)
ORDER BY hashint8extended(s.id, :seed), s.id
LIMIT :size;

-- name: ids
-- List who is in a segment.
SELECT s.id
FROM subscriber s LEFT JOIN giving g ON g.subscriber_id = s.id
WHERE (/* segment */ true)
ORDER BY s.id;

-- name: domains
-- Count who is in a segment by domain and the provider that is hinted for it.
SELECT s.domain, s.provider, count(*) AS people
FROM subscriber s LEFT JOIN giving g ON g.subscriber_id = s.id
WHERE (/* segment */ true)
GROUP BY s.domain, s.provider
ORDER BY count(*) DESC, s.domain, s.provider;
