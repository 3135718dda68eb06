-- name: variants
-- List the arms of a blast in the order of its file.
SELECT position, name, subject
FROM variant
WHERE blast_id = :blast
ORDER BY position;

-- name: by_provider
-- Add up all hours of a blast, by variant and provider.
SELECT variant, provider,
       sum(recipients)::bigint AS recipients, sum(sent)::bigint AS sent,
       sum(deferrals)::bigint AS deferrals, sum(bounced)::bigint AS bounced,
       sum(in_doubt)::bigint AS in_doubt, sum(suppressed)::bigint AS suppressed,
       sum(held_out)::bigint AS held_out, sum(expired)::bigint AS expired,
       sum(cancelled)::bigint AS cancelled, sum(failed)::bigint AS failed,
       sum(opens)::bigint AS opens, sum(machine_opens)::bigint AS machine_opens,
       sum(clicks)::bigint AS clicks, sum(machine_clicks)::bigint AS machine_clicks,
       sum(unsubscribes)::bigint AS unsubscribes, sum(complaints)::bigint AS complaints,
       sum(returned)::bigint AS returned,
       sum(donors)::bigint AS donors, sum(gifts)::bigint AS gifts, sum(money) AS money
FROM rollup
WHERE blast_id = :blast
GROUP BY variant, provider
ORDER BY variant, provider;

-- name: by_hour
-- Add up all providers of a blast, by variant and hour.
SELECT variant, hour,
       sum(sent)::bigint AS sent, sum(opens)::bigint AS opens,
       sum(clicks)::bigint AS clicks, sum(unsubscribes)::bigint AS unsubscribes,
       sum(donors)::bigint AS donors, sum(gifts)::bigint AS gifts, sum(money) AS money
FROM rollup
WHERE blast_id = :blast
GROUP BY variant, hour
ORDER BY hour, variant;

-- name: gifts
-- Sum what each donor of a blast gave, its square and its largest: the rollup has none.
WITH giver AS (
    SELECT variant, sum(amount - refunded) AS given
    FROM donation
    WHERE blast_id = :blast AND NOT renewal
    GROUP BY variant, COALESCE('s' || subscriber_id, 'e' || email, 'd' || id)
    HAVING sum(amount - refunded) > 0
)
SELECT COALESCE(variant, 0) AS variant, count(*) AS donors, sum(given) AS money,
       sum(given * given) AS squares, max(given) AS largest
FROM giver
GROUP BY COALESCE(variant, 0)
ORDER BY COALESCE(variant, 0);
