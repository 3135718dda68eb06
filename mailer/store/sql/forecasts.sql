-- name: waiting
-- List the blasts that use lanes now or later, with the pool of each, in sending order.
SELECT b.id, b.name, b.topic, b.approved_hash, b.priority, b.send_at, b.expires_at,
       b.state NOT IN ('scheduled', 'launching') AS is_launched, c.body ->> 'pool' AS pool
FROM blast b JOIN content c ON c.hash = b.approved_hash
WHERE b.state IN ('scheduled', 'launching', 'testing', 'deciding', 'sending')
  AND b.expires_at > mailer_now()
ORDER BY b.priority DESC, b.expires_at, b.id;

-- name: lanes
-- Read how lanes stand and what their controller has learned of their limits.
SELECT l.provider, l.source, l.mode::text AS mode, l.rate, l.start, l.ceiling,
       GREATEST(l.not_before, 'epoch') AS not_before,
       (l.memory ->> 'knee')::double precision AS knee,
       (l.memory ->> 'threshold')::double precision AS threshold,
       l.is_warming, d.quota, d.used
FROM lane l
LEFT JOIN lane_day d ON d.provider = l.provider AND d.source = l.source
    AND l.is_warming AND d.day = (lane_now() AT TIME ZONE 'UTC')::date
ORDER BY l.provider, l.source;
