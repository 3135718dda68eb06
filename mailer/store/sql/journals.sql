-- name: begin
-- Count the batches of a journal from now on.
INSERT INTO journal (owner) VALUES (:owner) ON CONFLICT (owner) DO NOTHING;

-- name: tidy
-- Forget the counts of processes that ended long ago.
DELETE FROM journal j
WHERE j.at < clock_timestamp() - interval '7 days'
  AND NOT EXISTS (SELECT FROM process p WHERE p.id = j.owner AND p.stopped_at IS NULL);

-- name: count
-- One more batch of a journal is in the ledger, together with this.
INSERT INTO journal AS j (owner, settled) VALUES (:owner, 1)
ON CONFLICT (owner) DO UPDATE SET settled = j.settled + 1, at = clock_timestamp()
RETURNING settled;

-- name: identity
-- Say which life of the database this is; none, before somebody has begun the new one.
SELECT CASE WHEN life = server_life() THEN id END FROM identity;

-- name: settled
-- Say how many batches of journals are in the ledger.
SELECT owner, settled FROM journal WHERE owner = ANY(:owners::text[]) ORDER BY owner;

-- name: change
-- Begin another life of the database, unless somebody has done so.
UPDATE identity
SET id = gen_random_uuid(), life = server_life(), since = clock_timestamp()
WHERE :known::uuid IS NULL OR id = :known::uuid OR life <> server_life();
