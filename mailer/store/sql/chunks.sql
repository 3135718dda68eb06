-- name: lease
-- Take the first ready chunk for a lane, of the most urgent running blast; its first
-- messages may be started at once.
UPDATE chunk c
SET state = 'leased', owner = :owner, epoch = c.epoch + 1,
    lease_until = clock_timestamp() + :lease,
    started_through = CASE
        WHEN c.seqs IS NULL THEN LEAST(c.last_seq, c.first_seq + :window::integer - 1)
        ELSE c.seqs[LEAST(:window::integer, cardinality(c.seqs))]
    END
FROM (
    SELECT ready.id
    FROM blast b
    JOIN round r ON r.blast_id = b.id AND r.released_at IS NOT NULL
    CROSS JOIN LATERAL (
        SELECT id FROM chunk
        WHERE blast_id = b.id AND round = r.number AND provider = :provider
          AND pool = :pool AND state = 'ready' AND start_at <= mailer_now()
        ORDER BY start_at, id
        LIMIT 1
        FOR UPDATE SKIP LOCKED
    ) AS ready
    WHERE b.state IN ('testing', 'deciding', 'sending')
      -- Not in a database that has forgotten what we know (store/journals.py).
      AND EXISTS (SELECT FROM identity i
                  WHERE i.id = :identity AND i.life = server_life()
                    AND i.since <= clock_timestamp() - :grace::interval)
      AND EXISTS (SELECT FROM journal j
                  WHERE j.owner = :owner AND j.settled >= :settled)
    ORDER BY b.priority DESC, b.expires_at, b.id
    LIMIT 1
) AS next
WHERE c.id = next.id
RETURNING c.id, c.blast_id, c.round, c.provider, c.pool, c.attempt, c.first_seq,
          c.last_seq, c.seqs, c.epoch, c.started_through;

-- name: rows
-- Read the people of a chunk that are still owed a message, and who must not get it.
SELECT d.seq, d.attempts, d.dated_at, COALESCE(d.variant, r.variant, 1) AS variant,
       d.subscriber_id,
       s.id IS NULL OR EXISTS (
           SELECT FROM suppression x
           WHERE x.address IN (s.address, '@' || s.domain)
             AND (x.topic IS NULL OR x.topic = :topic)
             AND (x.expires_at IS NULL OR x.expires_at > mailer_now())
       ) OR EXISTS (  -- wants fewer; of two blasts at once, the later launched yields
           SELECT FROM preference p
           JOIN blast b ON b.id <> :blast
                       AND b.launched_at > mailer_now() - p.every - interval '7 days'
           JOIN delivery o ON o.blast_id = b.id AND o.subscriber_id = p.subscriber_id
           WHERE p.subscriber_id = d.subscriber_id AND p.every IS NOT NULL
             AND ((o.state IN ('sent', 'in_doubt')
                   AND o.settled_at > mailer_now() - p.every)
                  OR (o.state IN ('owed', 'deferred')
                      AND (b.launched_at, b.id) < (
                          SELECT m.launched_at, m.id FROM blast m WHERE m.id = :blast)))
       ) AS suppressed,
       (/* excluded */ false) AS excluded
FROM delivery d
JOIN round r ON r.blast_id = d.blast_id AND r.number = d.round
LEFT JOIN subscriber s ON s.id = d.subscriber_id
LEFT JOIN giving g ON g.subscriber_id = d.subscriber_id
WHERE d.blast_id = :blast AND d.seq BETWEEN :first AND :last
  AND (:seqs::integer[] IS NULL OR d.seq = ANY(:seqs::integer[]))
  AND d.state IN ('owed', 'deferred') AND d.attempts = :attempt
ORDER BY d.seq;

-- name: move
-- Finish chunks, give them back, or go further in them; say which were still ours.
-- All in one order, so that nobody waits for each other in a circle.  Going further
-- needs a lease that holds; the rest is allowed to a late owner too.
WITH told AS (
    SELECT id, epoch, state, wait, through
    FROM unnest(
        :ids::bigint[], :epochs::integer[], :states::chunk_state[], :waits::interval[],
        :throughs::integer[]
    ) AS t (id, epoch, state, wait, through)
), ours AS (
    SELECT c.id
    FROM chunk c JOIN told ON told.id = c.id AND told.epoch = c.epoch
    WHERE c.owner = :owner
    ORDER BY c.id
    FOR UPDATE OF c
)
UPDATE chunk c
SET state = told.state,
    owner = CASE WHEN told.state = 'leased' THEN c.owner END,
    lease_until = CASE WHEN told.state = 'leased' THEN c.lease_until END,
    started_through = CASE WHEN told.state = 'leased'
                           THEN GREATEST(c.started_through, told.through) END,
    lost_at = NULL,
    start_at = GREATEST(
        c.start_at, CASE WHEN told.wait > '0' THEN mailer_now() + told.wait END
    )
FROM told JOIN ours ON ours.id = told.id
WHERE c.id = told.id AND c.owner = :owner AND c.epoch = told.epoch
  AND (told.state <> 'leased'
       OR (c.lost_at IS NULL AND c.lease_until > clock_timestamp()))
RETURNING c.id, c.epoch;

-- name: retry
-- Gather deferred rows into a chunk that is due later.
INSERT INTO chunk (
    blast_id, round, provider, pool, start_at, attempt, first_seq, last_seq, seqs
)
VALUES (
    :blast, :round, :provider, :pool, :start_at, :attempt, :first, :last, :seqs
);

-- name: keep_only
-- Take rows out of a leased chunk, of which nothing was started; none left: it is done.
UPDATE chunk
SET seqs = :left::integer[], first_seq = :first, last_seq = :last,
    state = CASE WHEN :left::integer[] = '{}' THEN 'done' ELSE state END,
    owner = CASE WHEN :left::integer[] = '{}' THEN NULL ELSE owner END,
    lease_until = CASE WHEN :left::integer[] = '{}' THEN NULL ELSE lease_until END,
    -- What may have been started is told by seqs: the first of those left, at least.
    started_through = CASE WHEN :left::integer[] = '{}' THEN NULL
                           ELSE GREATEST(started_through, :first) END
WHERE id = :id AND owner = :owner AND epoch = :epoch AND state = 'leased'
  AND lost_at IS NULL AND lease_until > clock_timestamp()
RETURNING id;

-- name: renew
-- Keep the leases of a process that is alive, and say which; what has lapsed is lost.
WITH told AS (
    SELECT id, epoch FROM unnest(:ids::bigint[], :epochs::integer[]) AS t (id, epoch)
), ours AS (
    SELECT c.id
    FROM chunk c JOIN told ON told.id = c.id AND told.epoch = c.epoch
    WHERE c.owner = :owner AND c.state = 'leased'
    ORDER BY c.id
    FOR UPDATE OF c
)
UPDATE chunk c SET lease_until = clock_timestamp() + :lease
FROM told JOIN ours ON ours.id = told.id
WHERE c.id = told.id AND c.owner = :owner AND c.epoch = told.epoch
  AND c.lost_at IS NULL AND c.lease_until > clock_timestamp()
RETURNING c.id, c.epoch;

-- name: outranked
-- List the chunks of a process that keep a lane from those of a more urgent blast.
SELECT c.id
FROM chunk c
JOIN blast b ON b.id = c.blast_id
WHERE c.owner = :owner AND c.state = 'leased' AND EXISTS (
    SELECT FROM blast o
    JOIN round r ON r.blast_id = o.id AND r.released_at IS NOT NULL
    JOIN chunk n ON n.blast_id = o.id AND n.round = r.number
    WHERE o.state IN ('testing', 'deciding', 'sending') AND o.id <> b.id
      AND (o.priority > b.priority
           OR o.priority = b.priority AND o.expires_at < b.expires_at)
      AND n.provider = c.provider AND n.pool = c.pool AND n.state = 'ready'
      AND n.start_at <= mailer_now()
)
ORDER BY c.id;

-- name: reclaim
-- Give back every chunk of a process that is known to be dead.
UPDATE chunk SET state = 'ready', owner = NULL, lease_until = NULL,
                 started_through = NULL, lost_at = NULL
WHERE owner = :owner AND state = 'leased';

-- name: let_go
-- Give back what a process was given and never heard of: its answer was lost.
UPDATE chunk SET state = 'ready', owner = NULL, lease_until = NULL,
                 started_through = NULL, lost_at = NULL
WHERE owner = :owner AND state = 'leased' AND lease_until < clock_timestamp()
  AND id <> ALL(:known::bigint[]);

-- name: split
-- Take back what lapsed owners cannot have started; the rest keeps its owner and waits.
WITH lapsed AS (
    SELECT id, blast_id, round, provider, pool, start_at, attempt, last_seq, seqs,
           COALESCE(started_through, last_seq) AS through
    FROM chunk
    WHERE state = 'leased' AND lost_at IS NULL AND lease_until < clock_timestamp()
    ORDER BY id
    LIMIT :limit
    FOR UPDATE SKIP LOCKED
), tail AS (
    INSERT INTO chunk (
        blast_id, round, provider, pool, start_at, attempt, first_seq, last_seq, seqs
    )
    SELECT blast_id, round, provider, pool, start_at, attempt,
           COALESCE(rest.seqs[1], through + 1), last_seq, rest.seqs
    FROM lapsed CROSS JOIN LATERAL (
        SELECT array_agg(seq ORDER BY seq) AS seqs
        FROM unnest(lapsed.seqs) AS s (seq) WHERE seq > through
    ) AS rest
    WHERE through < last_seq
    ORDER BY id
    RETURNING id
), head AS (
    UPDATE chunk c
    SET lost_at = clock_timestamp(),
        last_seq = LEAST(c.last_seq, lapsed.through),
        seqs = (SELECT array_agg(seq ORDER BY seq)
                FROM unnest(c.seqs) AS s (seq) WHERE seq <= lapsed.through)
    FROM lapsed
    WHERE c.id = lapsed.id
    RETURNING c.id
)
SELECT (SELECT count(*) FROM head) AS heads, (SELECT count(*) FROM tail) AS tails;

-- name: overdue
-- List lost chunks of which no answer can come any more.
SELECT id, blast_id, round, provider, pool, attempt, first_seq, last_seq, seqs, epoch,
       COALESCE(started_through, last_seq) AS started_through
FROM chunk
WHERE lost_at IS NOT NULL AND lease_until < clock_timestamp() - :patience::interval
ORDER BY id
LIMIT :limit;

-- name: held_by
-- List what a process holds, also what is lost.
SELECT id, blast_id, round, provider, pool, attempt, first_seq, last_seq, seqs, epoch,
       COALESCE(started_through, last_seq) AS started_through
FROM chunk
WHERE owner = :owner AND state = 'leased'
ORDER BY id;

-- name: unanswered
-- List what of a chunk may have been started, and what became of it nobody knows.
SELECT seq FROM delivery
WHERE blast_id = :blast AND seq BETWEEN :first AND LEAST(:last::integer, :through::integer)
  AND (:seqs::integer[] IS NULL OR seq = ANY(:seqs::integer[]))
  AND state IN ('owed', 'deferred', 'expired', 'cancelled') AND attempts = :attempt
ORDER BY seq;

-- name: end_lost
-- Nothing more is expected of a lost chunk, unless its owner was faster.
UPDATE chunk SET state = 'done', owner = NULL, lease_until = NULL,
                 started_through = NULL, lost_at = NULL
WHERE id = :id AND epoch = :epoch AND lost_at IS NOT NULL;

-- name: left
-- Count the chunks of a blast that are not done.
SELECT count(*) FROM chunk WHERE blast_id = :blast AND state <> 'done';

-- name: next_start
-- When is the next chunk of a blast due.
SELECT min(start_at) FROM chunk WHERE blast_id = :blast AND state = 'ready';

-- name: gather
-- Have rows tried again that are in no chunk any more.
INSERT INTO chunk (
    blast_id, round, provider, pool, start_at, attempt, first_seq, last_seq, seqs
)
SELECT d.blast_id, d.round, d.provider,
       (SELECT pool FROM chunk WHERE blast_id = d.blast_id ORDER BY id LIMIT 1),
       COALESCE(:start_at, mailer_now()), d.attempts, min(d.seq), max(d.seq),
       array_agg(d.seq ORDER BY d.seq)
FROM delivery d
WHERE d.blast_id = :blast AND d.seq = ANY(:seqs::integer[])
  AND d.state IN ('owed', 'deferred')
GROUP BY d.blast_id, d.round, d.provider, d.attempts
ORDER BY d.round, d.provider;
