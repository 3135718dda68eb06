-- name: last_day
-- Read the latest day on which a lane warmed up.
SELECT day, quota, used, accepted, deferred
FROM lane_day
WHERE provider = :provider AND source = :source
ORDER BY day DESC
LIMIT 1;

-- name: begin_day
-- Say how many messages a lane may send on a day.
INSERT INTO lane_day (provider, source, day, quota)
VALUES (:provider, :source, :day, :quota)
ON CONFLICT (provider, source, day) DO NOTHING;

-- name: count_day
-- Count what came of a day.
UPDATE lane_day SET accepted = accepted + :accepted, deferred = deferred + :deferred
WHERE provider = :provider AND source = :source AND day = :day;

-- name: cap
-- Have a limit that lanes share, as the settings say; what was taken stays taken.
INSERT INTO cap AS c (name, provider, source, domain, rate, daily)
VALUES (:name, :provider, :source, :domain, :rate, :daily)
ON CONFLICT (name) DO UPDATE
SET provider = excluded.provider, source = excluded.source, domain = excluded.domain,
    arrival = CASE WHEN c.arrival > clock_timestamp() AND c.rate <> excluded.rate
                   THEN clock_timestamp() + (c.arrival - clock_timestamp())
                                            * (c.rate / excluded.rate)
                   ELSE c.arrival END,
    rate = excluded.rate, daily = excluded.daily
WHERE (c.provider, c.source, c.domain, c.rate, c.daily)
      IS DISTINCT FROM (excluded.provider, excluded.source, excluded.domain,
                        excluded.rate, excluded.daily);

-- name: uncap
-- Forget limits that the settings do not have any more.
DELETE FROM cap WHERE name <> ALL(:names::text[]);

-- name: everything
-- List the limits that lanes share, and what of them is used.
SELECT name, provider, source, domain, rate, daily,
       CASE WHEN day = (clock_timestamp() AT TIME ZONE 'UTC')::date THEN used
            ELSE 0 END AS used
FROM cap
ORDER BY name;
