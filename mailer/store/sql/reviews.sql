-- name: add
-- Keep messages for a person to look at, each once.
INSERT INTO review (id, at, why, recipient, sender, subject, raw)
SELECT n.id, n.at, n.why, n.recipient, n.sender, n.subject, n.raw
FROM unnest(:ids::uuid[], :ats::timestamptz[], :whys::text[], :recipients::text[],
            :senders::text[], :subjects::text[], :raws::bytea[])
     AS n (id, at, why, recipient, sender, subject, raw)
ORDER BY n.id
ON CONFLICT (id) DO NOTHING;

-- name: list
-- Those that nobody has looked at yet, or all, the newest first.
SELECT number, at, why, recipient, sender, subject, settled_at, settled_by, settled_as
FROM review
WHERE :everything OR settled_at IS NULL
ORDER BY number DESC
LIMIT :size;

-- name: get
-- One message, whole.
SELECT number, at, why, recipient, sender, subject, settled_at, settled_by, settled_as,
       raw
FROM review
WHERE number = :number;

-- name: settle
-- Say what a message was, once.
UPDATE review
SET settled_at = mailer_now(), settled_by = :actor, settled_as = :what
WHERE number = :number AND settled_at IS NULL
RETURNING number;

-- name: count
-- How many wait for a person.
SELECT count(*) FROM review WHERE settled_at IS NULL;

-- name: audit
-- Write down who said what a message was.
INSERT INTO audit (actor, object, action, after, why)
VALUES (:actor, 'review ' || :number::bigint, 'settle', :what, :why);
