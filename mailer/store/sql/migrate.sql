-- name: mark
-- Make the table that remembers what was applied.
CREATE TABLE IF NOT EXISTS migration (
    number integer PRIMARY KEY,
    name text NOT NULL,
    hash text NOT NULL,
    breaking boolean NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- name: lock
-- Let one process migrate at a time; the end of its transaction gives it back.
SELECT pg_advisory_xact_lock(7258463920151);

-- name: applied
-- List what was applied.
SELECT number, name, hash, breaking, applied_at FROM migration ORDER BY number;

-- name: done
-- Remember that a migration was applied.
INSERT INTO migration (number, name, hash, breaking)
VALUES (:number, :name, :hash, :breaking);

-- name: broken
-- Tell whether a later release changed what an earlier one relies on.
SELECT EXISTS (SELECT FROM migration WHERE breaking AND number > :known);
