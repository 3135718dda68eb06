-- name: raise
-- Open an alarm, or say that an open one, or one that was only just gone, is there.
WITH same AS (
    SELECT a.id FROM alarm a
    WHERE a.kind = :kind AND a.subject = :subject
      AND (a.cleared_at IS NULL OR a.cleared_at > mailer_now() - :again::interval)
    ORDER BY a.id DESC
    LIMIT 1
), back AS (
    UPDATE alarm a
    SET count = a.count + :more::integer, last_at = mailer_now(), detail = :detail,
        reopened = a.reopened + (a.cleared_at IS NOT NULL)::integer,
        taken_by = CASE WHEN a.told = 'cleared' THEN NULL ELSE a.taken_by END,
        taken_at = CASE WHEN a.told = 'cleared' THEN NULL ELSE a.taken_at END,
        cleared_at = NULL, cleared_why = NULL
    FROM same
    WHERE a.id = same.id
    RETURNING a.id
), new AS (
    INSERT INTO alarm AS a (kind, subject, detail)
    SELECT :kind, :subject, :detail
    WHERE NOT EXISTS (SELECT FROM back)
    ON CONFLICT (kind, subject) WHERE cleared_at IS NULL DO UPDATE
    SET count = a.count + :more::integer, last_at = mailer_now(), detail = excluded.detail
    RETURNING a.id
)
SELECT id FROM back UNION ALL SELECT id FROM new ORDER BY id;

-- name: clear
-- Say that the cause of an alarm is gone.
UPDATE alarm SET cleared_at = mailer_now(), cleared_why = :why
WHERE kind = :kind AND subject = :subject AND cleared_at IS NULL;

-- name: lapse
-- End taken alarms of which nothing was heard for long; nobody needs to be told.
UPDATE alarm
SET cleared_at = mailer_now(), cleared_why = 'taken, and not seen since', told = 'cleared',
    told_at = mailer_now()
WHERE cleared_at IS NULL AND taken_at IS NOT NULL
  AND GREATEST(last_at, taken_at) < mailer_now() - :forgotten::interval;

-- name: take
-- Say who looks after an alarm.
UPDATE alarm SET taken_by = :who, taken_at = mailer_now(), note = COALESCE(:note, note)
WHERE id = :id AND cleared_at IS NULL
RETURNING id;

-- name: get
-- Read one alarm.
SELECT id, kind, subject, detail, count, first_at, last_at, taken_by, taken_at, note,
       cleared_at, cleared_why, reopened, told, told_at, rounds
FROM alarm
WHERE id = :id;

-- name: open
-- List the alarms that are open, the oldest first.
SELECT id, kind, subject, detail, count, first_at, last_at, taken_by, taken_at, note,
       cleared_at, cleared_why, reopened, told, told_at, rounds
FROM alarm
WHERE cleared_at IS NULL
ORDER BY id;

-- name: all
-- List the alarms there ever were, the newest first.
SELECT id, kind, subject, detail, count, first_at, last_at, taken_by, taken_at, note,
       cleared_at, cleared_why, reopened, told, told_at, rounds
FROM alarm
ORDER BY id DESC
LIMIT :limit;

-- name: unsettled
-- List the alarms of which people may have to be told something.
SELECT id, kind, subject, detail, count, first_at, last_at, taken_by, taken_at, note,
       cleared_at, cleared_why, reopened, told, told_at, rounds
FROM alarm
WHERE cleared_at IS NULL OR told <> 'cleared'
ORDER BY id;

-- name: lock
-- Hold one alarm while people are told of it, unless another process does.
SELECT id, kind, subject, detail, count, first_at, last_at, taken_by, taken_at, note,
       cleared_at, cleared_why, reopened, told, told_at, rounds
FROM alarm
WHERE id = :id
FOR UPDATE SKIP LOCKED;

-- name: tell
-- Remember what people are told, and return the number of the round.
UPDATE alarm SET told = :event, told_at = mailer_now(), rounds = rounds + 1
WHERE id = :id
RETURNING rounds;

-- name: drop
-- Let go what was to be said before: a newer notice says more.
UPDATE notice SET dropped_at = mailer_now()
WHERE alarm_id = :alarm AND sent_at IS NULL AND dropped_at IS NULL;

-- name: owe
-- Add one notice to one address.
INSERT INTO notice (alarm_id, round, channel, address, body)
VALUES (:alarm, :round, :channel, :address, :body);

-- name: claim
-- Take notices to deliver; whoever took one and died loses it when the lease ends.
UPDATE notice n
SET lease_until = mailer_now() + :lease::interval, attempts = n.attempts + 1
FROM (
    SELECT id FROM notice
    WHERE sent_at IS NULL AND dropped_at IS NULL AND due_at <= mailer_now()
      AND (lease_until IS NULL OR lease_until <= mailer_now())
    ORDER BY due_at, id
    LIMIT :limit
    FOR UPDATE SKIP LOCKED
) AS mine
WHERE n.id = mine.id
RETURNING n.id, n.alarm_id, n.channel, n.address, n.body, n.attempts;

-- name: sent
-- Remember that a notice was delivered.
UPDATE notice SET sent_at = mailer_now(), lease_until = NULL, error = NULL
WHERE id = :id AND sent_at IS NULL;

-- name: unsent
-- Put a notice off that could not be delivered.
UPDATE notice SET due_at = mailer_now() + :wait::interval, lease_until = NULL, error = :error
WHERE id = :id AND sent_at IS NULL;

-- name: undelivered
-- List the notices of open alarms that could not be delivered yet, and why.
SELECT n.alarm_id, n.channel, n.address, n.attempts, n.error
FROM notice n
JOIN alarm a ON a.id = n.alarm_id
WHERE a.cleared_at IS NULL AND n.sent_at IS NULL AND n.dropped_at IS NULL
  AND n.error IS NOT NULL
ORDER BY n.alarm_id, n.channel, n.address;

-- name: clock
-- Read the clock of the database.
SELECT mailer_now();

-- name: counts
-- Count the open alarms of each kind.
SELECT kind, count(*) AS count FROM alarm WHERE cleared_at IS NULL GROUP BY kind
ORDER BY kind;

-- name: blast
-- Look at the blast that an alarm is about: how many are in doubt, and its rule.
SELECT b.name, b.state::text AS state, b.expires_at, mailer_now() AS now,
       COALESCE(c.body ->> 'in_doubt', 'hold') AS rule,
       (SELECT COALESCE(sum(r.in_doubt), 0)::bigint FROM rollup r WHERE r.blast_id = b.id)
           AS in_doubt
FROM blast b LEFT JOIN content c ON c.hash = b.approved_hash
WHERE b.id = :id;
