-- name: launch
-- Write the ledger: who is owed a message, in sending order; variants alternate.
-- Returns what was placed where, so that nobody needs to read it all again.
WITH placed AS (
    INSERT INTO delivery (
        blast_id, seq, subscriber_id, provider, round, variant, state, settled_at, reply
    )
    SELECT :blast, seq, id, provider, 1,
           CASE WHEN kind = 'owed' THEN 1 + (seq - 1) % :variants END,
           kind, CASE WHEN kind <> 'owed' THEN mailer_now() END,
           CASE WHEN kind = 'suppressed' THEN 'suppressed at launch' END
    FROM (
        SELECT id, provider, kind,
               row_number() OVER (ORDER BY kind, provider, rank, id)::integer AS seq
        FROM (
            SELECT id, provider, rank,
                   (CASE WHEN is_suppressed THEN 'suppressed'
                         WHEN /* held out */ false THEN 'held_out'
                         ELSE 'owed' END)::delivery_state AS kind
            FROM (
                SELECT s.id, COALESCE(r.provider, s.provider) AS provider,
                       hashint8extended(s.id, :seed) AS rank,
                       EXISTS (
                           SELECT FROM suppression x
                           WHERE x.address = s.address
                             AND (x.topic IS NULL OR x.topic = :topic)
                             AND (x.expires_at IS NULL OR x.expires_at > mailer_now())
                       ) OR EXISTS (
                           SELECT FROM suppression x
                           WHERE x.address = '@' || s.domain
                             AND (x.topic IS NULL OR x.topic = :topic)
                             AND (x.expires_at IS NULL OR x.expires_at > mailer_now())
                       ) OR s.id IN (  -- got, or will get, a message lately enough
                           SELECT p.subscriber_id FROM preference p
                           WHERE p.every IS NOT NULL AND EXISTS (
                               SELECT FROM blast b
                               JOIN delivery d ON d.blast_id = b.id
                                              AND d.subscriber_id = p.subscriber_id
                               WHERE b.id <> :blast
                                 AND b.launched_at > mailer_now() - p.every - interval '7 days'
                                 AND (d.state IN ('owed', 'deferred')
                                      OR (d.state IN ('sent', 'in_doubt')
                                          AND d.settled_at > mailer_now() - p.every))
                           )
                       ) AS is_suppressed
                FROM subscriber s LEFT JOIN giving g ON g.subscriber_id = s.id
                LEFT JOIN received r ON r.domain = s.domain  -- by its live MX
                WHERE (/* audience */ true)
            ) AS audience
        ) AS sorted
    ) AS ordered
    RETURNING round, provider, variant, state, seq
)
SELECT round, provider, variant, state, count(*), min(seq) AS first, max(seq) AS last
FROM placed
GROUP BY round, provider, variant, state
ORDER BY round, provider, variant, state;

-- name: insert_rounds
-- Add the rounds of a blast; released ones may be leased at once.
INSERT INTO round (blast_id, number, released_at) VALUES (:blast, 1, mailer_now());

-- name: insert_chunks
-- Cut runs of owed rows into chunks, provider by provider, in sending order.
INSERT INTO chunk (blast_id, round, provider, pool, start_at, first_seq, last_seq)
SELECT :blast, run.round, run.provider, :pool, :start_at, part.first,
       LEAST(part.first + :size - 1, run.last)
FROM unnest(
    :rounds::smallint[], :providers::text[], :firsts::integer[], :lasts::integer[]
) AS run (round, provider, first, last)
CROSS JOIN LATERAL generate_series(run.first, run.last, :size) AS part (first)
ORDER BY part.first - run.first, run.provider;

-- name: roll_up_launch
-- Count who is in the audience, and who of them gets nothing.
INSERT INTO rollup AS r (blast_id, variant, provider, hour, recipients, suppressed, held_out)
SELECT :blast, variant, provider, date_trunc('hour', mailer_now(), 'UTC'),
       sum(count), COALESCE(sum(count) FILTER (WHERE state = 'suppressed'), 0),
       COALESCE(sum(count) FILTER (WHERE state = 'held_out'), 0)
FROM unnest(
    :variants::smallint[], :providers::text[], :states::delivery_state[],
    :counts::bigint[]
) AS placed (variant, provider, state, count)
GROUP BY variant, provider
ORDER BY variant, provider
ON CONFLICT (blast_id, variant, provider, hour) DO UPDATE
SET recipients = r.recipients + excluded.recipients,
    suppressed = r.suppressed + excluded.suppressed,
    held_out = r.held_out + excluded.held_out;

-- name: states
-- Count the deliveries of a blast by state.
SELECT state, count(*) AS count FROM delivery
WHERE blast_id = :blast
GROUP BY state
ORDER BY state;

-- name: progress
-- Sum up how far a blast is, provider by provider.
SELECT provider, sum(recipients)::bigint AS recipients, sum(sent)::bigint AS sent,
       sum(deferrals)::bigint AS deferrals, sum(bounced)::bigint AS bounced,
       sum(in_doubt)::bigint AS in_doubt, sum(suppressed)::bigint AS suppressed,
       sum(held_out)::bigint AS held_out, sum(expired)::bigint AS expired,
       sum(cancelled)::bigint AS cancelled, sum(failed)::bigint AS failed
FROM rollup
WHERE blast_id = :blast
GROUP BY provider
ORDER BY sum(recipients) DESC, provider;

-- name: listed
-- Name the recipients of a blast that are in a state.
SELECT d.seq, s.email, d.provider, d.variant, d.state, d.attempts, d.settled_at,
       d.code, d.reply, d.resent_at
FROM delivery d LEFT JOIN subscriber s ON s.id = d.subscriber_id
WHERE d.blast_id = :blast AND d.state = ANY(:states::delivery_state[])
ORDER BY d.seq
LIMIT :limit;

-- name: settle
-- Write results into the ledger where it still waits for them, and count them.
WITH result AS (
    SELECT seq, state, attempts, code, reply, at
    FROM unnest(
        :seqs::integer[], :states::delivery_state[], :attempts::smallint[],
        :codes::smallint[], :replies::text[], :ats::timestamptz[]
    ) AS r (seq, state, attempts, code, reply, at)
), was AS (
    SELECT d.seq, d.state, d.attempts, d.provider,
           COALESCE(d.variant, o.variant, 0) AS variant
    FROM delivery d JOIN round o ON o.blast_id = d.blast_id AND o.number = d.round
    WHERE d.blast_id = :blast AND d.seq = ANY(:seqs::integer[])
    ORDER BY d.seq
    FOR UPDATE OF d
), done AS (
    UPDATE delivery d
    SET state = result.state, attempts = result.attempts, settled_at = result.at,
        code = result.code, reply = result.reply,
        variant = NULLIF(was.variant, 0),
        dated_at = CASE WHEN result.state = 'deferred'
                        THEN COALESCE(d.dated_at, result.at) ELSE d.dated_at END
    FROM result JOIN was USING (seq)
    WHERE d.blast_id = :blast AND d.seq = result.seq
      AND ((was.state IN ('owed', 'deferred') AND was.attempts <= result.attempts
            AND NOT (result.state = 'deferred' AND was.attempts = result.attempts))
           OR (was.state = 'in_doubt' AND result.state IN ('sent', 'bounced', 'deferred')
               AND was.attempts <= result.attempts)
           OR (was.state IN ('expired', 'cancelled') AND result.state IN ('in_doubt', 'bounced'))
           OR (result.state = 'sent' AND was.state NOT IN ('sent', 'held_out')))
    RETURNING d.seq, was.variant, was.provider, was.state AS before,
              result.state AS after, result.at
), counted AS (
    INSERT INTO rollup AS r (
        blast_id, variant, provider, hour, sent, deferrals, bounced, in_doubt,
        suppressed, expired, cancelled, failed
    )
    SELECT :blast, variant, provider, date_trunc('hour', at, 'UTC'),
           count(*) FILTER (WHERE after = 'sent') - count(*) FILTER (WHERE before = 'sent'),
           count(*) FILTER (WHERE after = 'deferred'),
           count(*) FILTER (WHERE after = 'bounced') - count(*) FILTER (WHERE before = 'bounced'),
           count(*) FILTER (WHERE after = 'in_doubt') - count(*) FILTER (WHERE before = 'in_doubt'),
           count(*) FILTER (WHERE after = 'suppressed') - count(*) FILTER (WHERE before = 'suppressed'),
           count(*) FILTER (WHERE after = 'expired') - count(*) FILTER (WHERE before = 'expired'),
           count(*) FILTER (WHERE after = 'cancelled') - count(*) FILTER (WHERE before = 'cancelled'),
           count(*) FILTER (WHERE after = 'failed') - count(*) FILTER (WHERE before = 'failed')
    FROM done
    GROUP BY variant, provider, date_trunc('hour', at, 'UTC')
    ORDER BY variant, provider, 4
    ON CONFLICT (blast_id, variant, provider, hour) DO UPDATE
    SET sent = r.sent + excluded.sent, deferrals = r.deferrals + excluded.deferrals,
        bounced = r.bounced + excluded.bounced, in_doubt = r.in_doubt + excluded.in_doubt,
        suppressed = r.suppressed + excluded.suppressed, expired = r.expired + excluded.expired,
        cancelled = r.cancelled + excluded.cancelled, failed = r.failed + excluded.failed
    RETURNING 1
)
SELECT seq, before, after FROM done
WHERE (SELECT count(*) FROM counted) IS NOT NULL
ORDER BY seq;

-- name: behind
-- Which of these results does the ledger not have; read only, for long journals.
SELECT r.seq
FROM unnest(:seqs::integer[], :states::delivery_state[], :attempts::smallint[])
     AS r (seq, state, attempts)
JOIN delivery d ON d.blast_id = :blast AND d.seq = r.seq
WHERE d.state <> r.state OR d.attempts < r.attempts
ORDER BY r.seq;

-- name: suppress_bounced
-- Keep a bad address from being mailed again.
INSERT INTO suppression (address, reason, source, note)
SELECT s.address, 'bounce', :source, r.reply
FROM unnest(:subscribers::bigint[], :replies::text[]) AS r (id, reply)
JOIN subscriber s ON s.id = r.id
ORDER BY s.address
ON CONFLICT (address, topic) DO NOTHING;

-- name: close
-- End what is still owed of a blast, as expired or cancelled, and count it.
WITH done AS (
    UPDATE delivery
    SET state = :state, settled_at = mailer_now()
    WHERE blast_id = :blast AND state IN ('owed', 'deferred')
      AND seq BETWEEN :first AND :last
    RETURNING variant, provider
)
INSERT INTO rollup AS r (blast_id, variant, provider, hour, expired, cancelled)
SELECT :blast, COALESCE(variant, 0), provider, date_trunc('hour', mailer_now(), 'UTC'),
       count(*) FILTER (WHERE :state::delivery_state = 'expired'),
       count(*) FILTER (WHERE :state::delivery_state = 'cancelled')
FROM done
GROUP BY COALESCE(variant, 0), provider
ORDER BY 2, 3
ON CONFLICT (blast_id, variant, provider, hour) DO UPDATE
SET expired = r.expired + excluded.expired, cancelled = r.cancelled + excluded.cancelled;

-- name: close_chunks
-- Nothing of an ended blast is leased any more, but for what is being sent.
UPDATE chunk SET state = 'done', owner = NULL, lease_until = NULL
WHERE blast_id = :blast AND state = 'ready';

-- name: last
-- Return the last position of a blast's ledger.
SELECT COALESCE(max(seq), 0) FROM delivery WHERE blast_id = :blast;

-- name: audience
-- Name the next people of an audience who may be mailed, by number.
SELECT s.id, s.provider
FROM subscriber s LEFT JOIN giving g ON g.subscriber_id = s.id
WHERE s.id > :after AND (/* audience */ true) AND NOT EXISTS (
    SELECT FROM suppression x
    WHERE x.address IN (s.address, '@' || s.domain)
      AND (x.topic IS NULL OR x.topic = :topic)
      AND (x.expires_at IS NULL OR x.expires_at > mailer_now())
)
ORDER BY s.id
LIMIT :limit;

-- name: size_up
-- Count an audience by provider, and how many of it are suppressed.
SELECT provider, count(*) AS people, count(*) FILTER (WHERE is_suppressed) AS suppressed
FROM (
    SELECT COALESCE(r.provider, s.provider) AS provider,
           EXISTS (
               SELECT FROM suppression x
               WHERE x.address = s.address AND (x.topic IS NULL OR x.topic = :topic)
                 AND (x.expires_at IS NULL OR x.expires_at > mailer_now())
           ) OR EXISTS (
               SELECT FROM suppression x
               WHERE x.address = '@' || s.domain AND (x.topic IS NULL OR x.topic = :topic)
                 AND (x.expires_at IS NULL OR x.expires_at > mailer_now())
           ) AS is_suppressed
    FROM subscriber s LEFT JOIN giving g ON g.subscriber_id = s.id
    LEFT JOIN received r ON r.domain = s.domain
    WHERE (/* audience */ true)
) AS audience
GROUP BY provider
ORDER BY count(*) DESC, provider;

-- name: overdue_doubts
-- List what has been in doubt for a while and was not sent again yet.
SELECT seq FROM delivery
WHERE blast_id = :blast AND state = 'in_doubt' AND resent_at IS NULL
  AND settled_at <= mailer_now() - :wait::interval
ORDER BY seq;

-- name: owe_again
-- Owe again what is in doubt, and count it so.
WITH done AS (
    UPDATE delivery SET state = 'owed', settled_at = NULL, resent_at = mailer_now(),
                        dated_at = COALESCE(dated_at, settled_at)
    WHERE blast_id = :blast AND seq = ANY(:seqs::integer[]) AND state = 'in_doubt'
    RETURNING seq, variant, provider
), counted AS (
    INSERT INTO rollup AS r (blast_id, variant, provider, hour, in_doubt)
    SELECT :blast, COALESCE(variant, 0), provider,
           date_trunc('hour', mailer_now(), 'UTC'), -count(*)
    FROM done
    GROUP BY COALESCE(variant, 0), provider
    ORDER BY 2, 3
    ON CONFLICT (blast_id, variant, provider, hour) DO UPDATE
    SET in_doubt = r.in_doubt + excluded.in_doubt
    RETURNING 1
)
SELECT seq FROM done WHERE (SELECT count(*) FROM counted) IS NOT NULL ORDER BY seq;
