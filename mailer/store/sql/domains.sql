-- name: known
-- Read what is known of domains.
SELECT name, provider, why, hosts, preferences, asked_at, good_until,
       good_until > mailer_now() AS is_good, before, changed_at
FROM domain
WHERE name = ANY(:names::text[])
ORDER BY name;

-- name: keep
-- Write down what the DNS said of domains; return those whose provider is another now.
-- A domain that takes no mail keeps the provider that it had.
WITH said AS (
    SELECT name, provider, why,
           string_to_array(NULLIF(hosts, ''), ' ') AS hosts,
           string_to_array(NULLIF(preferences, ''), ' ')::integer[] AS preferences,
           seconds
    FROM unnest(
        :names::text[], :providers::text[], :whys::text[], :hosts::text[],
        :preferences::text[], :seconds::double precision[]
    ) AS said (name, provider, why, hosts, preferences, seconds)
), was AS (
    SELECT d.name, d.provider FROM domain d JOIN said USING (name)
), kept AS (
    INSERT INTO domain AS d (name, provider, why, hosts, preferences, good_until)
    SELECT name, provider, why, COALESCE(hosts, '{}'), COALESCE(preferences, '{}'),
           mailer_now() + make_interval(secs => seconds)
    FROM said
    ORDER BY name
    ON CONFLICT (name) DO UPDATE
    SET why = excluded.why, hosts = excluded.hosts, preferences = excluded.preferences,
        asked_at = mailer_now(), good_until = excluded.good_until,
        provider = CASE WHEN excluded.why IN ('null', 'none') THEN d.provider
                        ELSE excluded.provider END,
        before = CASE WHEN excluded.why NOT IN ('null', 'none')
                       AND d.provider <> excluded.provider THEN d.provider
                      ELSE d.before END,
        changed_at = CASE WHEN excluded.why NOT IN ('null', 'none')
                           AND d.provider <> excluded.provider THEN mailer_now()
                          ELSE d.changed_at END
    RETURNING d.name, d.provider
)
SELECT kept.name, was.provider AS before, kept.provider AS after
FROM kept JOIN was USING (name)
WHERE kept.provider <> was.provider
ORDER BY kept.name;

-- name: largest
-- List the domains of most people.
SELECT domain, count(*) AS people
FROM subscriber
GROUP BY domain
ORDER BY count(*) DESC, domain
LIMIT :limit;

-- name: peopled
-- List those of some domains at which we have people.
SELECT name FROM unnest(:names::text[]) AS name
WHERE EXISTS (SELECT FROM subscriber s WHERE s.domain = name)
ORDER BY name;
