-- Which life of the database this is, and how much of each journal is settled in it:
-- after a restore or a failover that lost something, journals are replayed.

-- What is another one after a replica has taken over, a recovery to a point in time,
-- or a copy to another server: the server's number and timeline.  Empty where a
-- hosted server does not tell.
CREATE FUNCTION server_life() RETURNS text LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN (SELECT system_identifier FROM pg_control_system())
           || '/' || left(pg_walfile_name(pg_current_wal_lsn()), 8);
EXCEPTION WHEN OTHERS THEN
    RETURN '';
END $$;

CREATE TABLE identity (
    one boolean PRIMARY KEY DEFAULT true CONSTRAINT identity_is_one_row CHECK (one),
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    life text NOT NULL DEFAULT server_life(),        -- of the server, at that time
    since timestamptz NOT NULL DEFAULT '-infinity'   -- a while after it nothing starts
);
INSERT INTO identity DEFAULT VALUES;

CREATE TABLE journal (
    owner text PRIMARY KEY,                  -- process
    settled bigint NOT NULL DEFAULT 0,       -- batches of it that are in the ledger
    at timestamptz NOT NULL DEFAULT clock_timestamp()
) WITH (fillfactor = 50);                    -- counted in place, ten times a second
