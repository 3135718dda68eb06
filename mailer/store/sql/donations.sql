-- name: lock
-- Let one transaction at a time decide whose first gift a gift is.
SELECT pg_advisory_xact_lock(7258463920152);

-- name: variant_exists
-- Tell whether a refcode names a variant that was sent.
SELECT true FROM variant WHERE blast_id = :blast AND position = :variant;

-- name: blast_exists
-- Tell whether a blast is there.
SELECT true FROM blast WHERE id = :blast;

-- name: subscriber
-- Find who gave by the number of a token.
SELECT id FROM subscriber WHERE id = :id;

-- name: subscriber_by_address
-- Find who gave by the address of the gift.
SELECT id FROM subscriber WHERE address = :address;

-- name: clicked
-- Find the blast that this person last clicked in before giving.
SELECT blast_id, link
FROM event
WHERE subscriber_id = :subscriber
  AND at BETWEEN :since AND :until
  AND kind = 'click' AND label = 'human' AND blast_id IS NOT NULL
ORDER BY at DESC, id DESC
LIMIT 1;

-- name: delivery
-- Read variant and provider of what this person got from a blast.
SELECT coalesce(d.variant, r.variant) AS variant, d.provider
FROM delivery d
JOIN round r ON r.blast_id = d.blast_id AND r.number = d.round
WHERE d.blast_id = :blast AND d.subscriber_id = :subscriber
ORDER BY d.occasion
LIMIT 1;

-- name: first
-- Find the first new gift of a person that a blast moved: it counts the donor.
SELECT at, external_id, variant
FROM donation
WHERE blast_id = :blast AND NOT renewal
  AND (subscriber_id = :subscriber
       OR (subscriber_id IS NULL AND :subscriber::bigint IS NULL
           AND coalesce(email, external_id) = :person))
ORDER BY at, external_id
LIMIT 1;

-- name: add
-- Add a gift that is not known yet; nothing is returned for one that is.
INSERT INTO donation (sender, external_id, at, amount, currency, recurring, renewal,
                      email, subscriber_id, blast_id, variant, link, method)
VALUES (:sender, :external_id, :at, :amount, :currency, :recurring, :renewal, :email,
        :subscriber, :blast, :variant, :link, :method)
ON CONFLICT (sender, external_id) DO NOTHING
RETURNING id;

-- name: add_to_giving
-- Remember what a person has given.
INSERT INTO giving (subscriber_id, live_count, live_sum, live_highest, live_latest,
                    live_latest_at, recurring)
VALUES (:subscriber, 1, :amount, :amount, :amount, :at, :recurring)
ON CONFLICT (subscriber_id) DO UPDATE
SET live_count = giving.live_count + 1,
    live_sum = giving.live_sum + excluded.live_sum,
    live_highest = greatest(giving.live_highest, excluded.live_highest),
    live_latest = CASE WHEN giving.live_latest_at >= excluded.live_latest_at
                       THEN giving.live_latest ELSE excluded.live_latest END,
    live_latest_at = greatest(giving.live_latest_at, excluded.live_latest_at),
    recurring = giving.recurring OR excluded.recurring;

-- name: mark_donated
-- Remember that a blast moved a person to give, and when first.
INSERT INTO engagement (subscriber_id, blast_id, donated_at)
VALUES (:subscriber, :blast, :at)
ON CONFLICT (subscriber_id, blast_id) DO UPDATE
SET donated_at = least(engagement.donated_at, excluded.donated_at);
