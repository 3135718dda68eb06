-- What is kept of people, for how long, and what is left of those who are erased.

-- Visits that name nobody: of people, or on topics, that are counted without a name.
CREATE TABLE anonymous_visit (
    blast_id bigint NOT NULL REFERENCES blast ON DELETE CASCADE,
    kind event_kind NOT NULL,
    link integer NOT NULL,                   -- of a click; -1 of an open
    hour timestamptz NOT NULL,
    human bigint NOT NULL DEFAULT 0,
    machine bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (blast_id, kind, link, hour)
);

CREATE INDEX event_by_time ON event USING brin (at);  -- purge

-- Who must not come back by an import: a salted hash, and nothing else of them.
CREATE TABLE erasure_salt (
    one boolean PRIMARY KEY DEFAULT true CONSTRAINT erasure_salt_is_one_row CHECK (one),
    salt uuid NOT NULL DEFAULT gen_random_uuid()
);
INSERT INTO erasure_salt DEFAULT VALUES;

CREATE TABLE erasure (
    hash bytea PRIMARY KEY,
    at timestamptz NOT NULL DEFAULT now()
);

CREATE FUNCTION erased_hash(address text) RETURNS bytea LANGUAGE sql STABLE AS $$
    SELECT sha256(convert_to(salt::text || address, 'UTF8')) FROM erasure_salt
$$;

CREATE FUNCTION suppress_erased() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM erasure) THEN
        INSERT INTO suppression (address, reason, source)
        SELECT f.address, 'manual', 'erased'
        FROM fresh f JOIN erasure e ON e.hash = erased_hash(f.address)
        ORDER BY f.address
        ON CONFLICT ON CONSTRAINT suppression_is_once DO NOTHING;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER subscriber_was_erased AFTER INSERT ON subscriber
    REFERENCING NEW TABLE AS fresh FOR EACH STATEMENT EXECUTE FUNCTION suppress_erased();
