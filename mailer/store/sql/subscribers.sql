-- name: get
-- One person, by the normalised address.
SELECT s.id, s.email, s.address, s.domain, s.provider, s.first_name, s.last_name,
       s.street, s.city, s.state, s.zip, s.country, s.time_zone, s.language,
       s.attributes, s.signed_up_at,
       g.count AS gift_count, g.sum AS gift_sum, g.highest, g.latest, g.latest_at,
       g.recurring, p.tracking
FROM subscriber s
LEFT JOIN giving g ON g.subscriber_id = s.id
LEFT JOIN preference p ON p.subscriber_id = s.id
WHERE s.address = :address;

-- name: by_ids
-- The people of a chunk, in the order of their ids.
SELECT s.id, s.email, s.address, s.domain, s.provider, s.first_name, s.last_name,
       s.street, s.city, s.state, s.zip, s.country, s.time_zone, s.language,
       s.attributes, s.signed_up_at,
       g.count AS gift_count, g.sum AS gift_sum, g.highest, g.latest, g.latest_at,
       g.recurring, p.tracking
FROM subscriber s
LEFT JOIN giving g ON g.subscriber_id = s.id
LEFT JOIN preference p ON p.subscriber_id = s.id
WHERE s.id = ANY(:ids::bigint[])
ORDER BY s.id;

-- name: count
-- How many people there are.
SELECT count(*) FROM subscriber;

-- name: lock_import
-- Imports take turns batch by batch: two of one file would deadlock on its rows.
SELECT pg_advisory_xact_lock(7258463920152);

-- name: now
-- The time that a batch is imported at.
SELECT mailer_now();

-- name: stage
-- Where a batch lands before it is merged; gone with the transaction.
CREATE TEMP TABLE incoming (
    address text,
    email text,
    domain text,
    provider text,
    first_name text,
    last_name text,
    street text,
    city text,
    state text,
    zip text,
    country text,
    time_zone text,
    language text,
    attributes jsonb,
    signed_up_at timestamptz,
    gift_count integer,
    gift_sum numeric,
    highest_gift numeric,
    latest_gift numeric,
    latest_gift_at timestamptz,
    recurring boolean
) ON COMMIT DROP;

-- name: probe_by_index
-- A young table has no statistics yet; without this each batch would scan it whole.
SELECT set_config('enable_hashjoin', 'off', true),
       set_config('enable_mergejoin', 'off', true),
       set_config('enable_seqscan', 'off', true),
       set_config('jit', 'off', true);

-- name: merge
-- Insert who is new, change who is known and differs; an unknown cell erases nothing.
WITH merged AS (
    INSERT INTO subscriber AS s (
        address, email, domain, provider, first_name, last_name, street, city, state,
        zip, country, time_zone, language, attributes, signed_up_at
    )
    SELECT address, email, domain, provider, first_name, last_name, street, city, state,
           zip, country, time_zone, language, COALESCE(attributes, '{}'),
           COALESCE(signed_up_at, :now)
    FROM incoming
    ON CONFLICT (address) DO UPDATE
    SET email = EXCLUDED.email,
        provider = EXCLUDED.provider,
        first_name = COALESCE(EXCLUDED.first_name, s.first_name),
        last_name = COALESCE(EXCLUDED.last_name, s.last_name),
        street = COALESCE(EXCLUDED.street, s.street),
        city = COALESCE(EXCLUDED.city, s.city),
        state = COALESCE(EXCLUDED.state, s.state),
        zip = COALESCE(EXCLUDED.zip, s.zip),
        country = COALESCE(EXCLUDED.country, s.country),
        time_zone = COALESCE(EXCLUDED.time_zone, s.time_zone),
        language = COALESCE(EXCLUDED.language, s.language),
        attributes = s.attributes || EXCLUDED.attributes,
        -- an unknown date arrives as :now, and must not replace a known one
        signed_up_at = CASE WHEN EXCLUDED.signed_up_at = :now THEN s.signed_up_at
                            ELSE EXCLUDED.signed_up_at END,
        updated_at = now()
    WHERE s.email <> EXCLUDED.email
       OR s.provider <> EXCLUDED.provider
       OR s.first_name IS DISTINCT FROM COALESCE(EXCLUDED.first_name, s.first_name)
       OR s.last_name IS DISTINCT FROM COALESCE(EXCLUDED.last_name, s.last_name)
       OR s.street IS DISTINCT FROM COALESCE(EXCLUDED.street, s.street)
       OR s.city IS DISTINCT FROM COALESCE(EXCLUDED.city, s.city)
       OR s.state IS DISTINCT FROM COALESCE(EXCLUDED.state, s.state)
       OR s.zip IS DISTINCT FROM COALESCE(EXCLUDED.zip, s.zip)
       OR s.country IS DISTINCT FROM COALESCE(EXCLUDED.country, s.country)
       OR s.time_zone IS DISTINCT FROM COALESCE(EXCLUDED.time_zone, s.time_zone)
       OR s.language IS DISTINCT FROM COALESCE(EXCLUDED.language, s.language)
       OR NOT s.attributes @> EXCLUDED.attributes
       OR (EXCLUDED.signed_up_at <> :now AND EXCLUDED.signed_up_at <> s.signed_up_at)
    RETURNING s.id, s.xmax = 0 AS created
)
SELECT array_agg(id) FILTER (WHERE created) AS created,
       array_agg(id) FILTER (WHERE NOT created) AS updated
FROM merged;

-- name: merge_giving
-- Replace the imported history of who has one in the batch; what hooks told stays.
WITH merged AS (
    INSERT INTO giving AS g (
        subscriber_id, imported_count, imported_sum, imported_highest, imported_latest,
        imported_latest_at, recurring
    )
    SELECT s.id,
           -- a gift without a number of gifts is one gift
           COALESCE(i.gift_count, NULLIF(k.imported_count, 0),
                    (GREATEST(i.gift_sum, i.highest_gift, i.latest_gift) > 0)::integer, 0),
           COALESCE(i.gift_sum, k.imported_sum, 0),
           COALESCE(i.highest_gift, k.imported_highest),
           COALESCE(i.latest_gift, k.imported_latest),
           COALESCE(i.latest_gift_at, k.imported_latest_at),
           COALESCE(i.recurring, k.recurring, false)
    FROM incoming i
    CROSS JOIN LATERAL (SELECT id FROM subscriber WHERE address = i.address) AS s
    LEFT JOIN giving k ON k.subscriber_id = s.id
    WHERE num_nonnulls(i.gift_count, i.gift_sum, i.highest_gift, i.latest_gift,
                       i.latest_gift_at, i.recurring) > 0
      -- nothing given is no row; it may be a correction of one
      AND (k.subscriber_id IS NOT NULL OR i.gift_count > 0 OR i.gift_sum > 0 OR i.recurring
           OR num_nonnulls(i.highest_gift, i.latest_gift, i.latest_gift_at) > 0)
    ON CONFLICT (subscriber_id) DO UPDATE
    SET imported_count = EXCLUDED.imported_count,
        imported_sum = EXCLUDED.imported_sum,
        imported_highest = EXCLUDED.imported_highest,
        imported_latest = EXCLUDED.imported_latest,
        imported_latest_at = EXCLUDED.imported_latest_at,
        recurring = EXCLUDED.recurring
    WHERE (g.imported_count, g.imported_sum, g.imported_highest, g.imported_latest,
           g.imported_latest_at, g.recurring)
          IS DISTINCT FROM
          (EXCLUDED.imported_count, EXCLUDED.imported_sum, EXCLUDED.imported_highest,
           EXCLUDED.imported_latest, EXCLUDED.imported_latest_at, EXCLUDED.recurring)
    RETURNING g.subscriber_id
)
SELECT array_agg(subscriber_id) FROM merged;

-- name: keep_real
-- Name the real tables, before a dry run hides them behind copies.
CREATE TEMP VIEW real_subscriber AS
SELECT id, address, email, domain, provider, first_name, last_name, street, city, state,
       zip, country, time_zone, language, attributes, signed_up_at, created_at, updated_at
FROM subscriber;

-- name: keep_real_giving
-- The same for what people gave.
CREATE TEMP VIEW real_giving AS
SELECT subscriber_id, imported_count, imported_sum, imported_highest, imported_latest,
       imported_latest_at, live_count, live_sum, live_highest, live_latest, live_latest_at,
       recurring
FROM giving;

-- name: shadow
-- Hide subscriber behind an empty copy with its indexes: a dry run writes there.
CREATE TEMP TABLE subscriber (LIKE subscriber INCLUDING ALL) ON COMMIT DROP;

-- name: shadow_giving
-- Hide giving behind an empty copy.
CREATE TEMP TABLE giving (LIKE giving INCLUDING ALL) ON COMMIT DROP;

-- name: shadow_ids
-- New people of a dry run get ids that nobody has.
ALTER TABLE pg_temp.subscriber ALTER COLUMN id RESTART WITH 4611686018427387904;

-- name: copy_known
-- Copy whom the batch is about into the dry run's table, once.
INSERT INTO subscriber (
    id, address, email, domain, provider, first_name, last_name, street, city, state,
    zip, country, time_zone, language, attributes, signed_up_at, created_at, updated_at
) OVERRIDING SYSTEM VALUE
SELECT r.id, r.address, r.email, r.domain, r.provider, r.first_name, r.last_name,
       r.street, r.city, r.state, r.zip, r.country, r.time_zone, r.language,
       r.attributes, r.signed_up_at, r.created_at, r.updated_at
FROM incoming i
JOIN real_subscriber r ON r.address = i.address
ON CONFLICT (address) DO NOTHING;

-- name: copy_known_giving
-- Copy what they gave, once.
INSERT INTO giving (
    subscriber_id, imported_count, imported_sum, imported_highest, imported_latest,
    imported_latest_at, live_count, live_sum, live_highest, live_latest, live_latest_at,
    recurring
)
SELECT r.subscriber_id, r.imported_count, r.imported_sum, r.imported_highest,
       r.imported_latest, r.imported_latest_at, r.live_count, r.live_sum, r.live_highest,
       r.live_latest, r.live_latest_at, r.recurring
FROM incoming i
JOIN subscriber s ON s.address = i.address
JOIN real_giving r ON r.subscriber_id = s.id
ON CONFLICT (subscriber_id) DO NOTHING;

-- name: forget_plans
-- The same words mean other tables from here on.
DISCARD PLANS;

-- name: unstage
-- Make room for the next batch of the same transaction.
DROP TABLE incoming;

-- name: drop_real
-- End a dry run: the names mean the real tables again.
DROP VIEW pg_temp.real_subscriber, pg_temp.real_giving;

-- name: history
-- What one person got and did, as counts.
SELECT (SELECT count(*)
        FROM blast b
        JOIN delivery d ON d.blast_id = b.id AND d.subscriber_id = :subscriber
        WHERE d.state = 'sent') AS messages,
       count(opened_at) AS opened,
       count(clicked_at) AS clicked,
       count(unsubscribed_at) AS unsubscribed,
       count(donated_at) AS donated
FROM engagement
WHERE subscriber_id = :subscriber;
