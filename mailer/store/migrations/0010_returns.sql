-- What comes back by mail: who is counted, what a person must look at, what is too much.
ALTER TABLE engagement ADD COLUMN returned_at timestamptz;         -- accepted, then came back
ALTER TABLE rollup ADD COLUMN returned bigint NOT NULL DEFAULT 0;  -- people

-- A message that nobody could read, or that names nobody for sure.
CREATE TABLE review (
    id uuid PRIMARY KEY,                     -- of the message: kept twice changes nothing
    number bigint GENERATED ALWAYS AS IDENTITY,  -- what people call it
    at timestamptz NOT NULL,
    why text NOT NULL,
    recipient text NOT NULL,                 -- where it came to
    sender text NOT NULL,
    subject text NOT NULL,
    raw bytea NOT NULL,                      -- its beginning, if it is long
    settled_at timestamptz,
    settled_by text,
    settled_as text,                         -- bounce, complaint, nothing
    CONSTRAINT review_number_is_once UNIQUE (number),
    CONSTRAINT review_settled_by_someone CHECK (
        num_nonnulls(settled_at, settled_by, settled_as) IN (0, 3)
    )
);
CREATE INDEX review_open ON review (number) WHERE settled_at IS NULL;  -- list

-- How much of a blast had come back when it was paused for that: a person who resumes
-- it excuses so much, and no more.
CREATE TABLE excuse (
    blast_id bigint NOT NULL REFERENCES blast ON DELETE CASCADE,
    provider text NOT NULL,                  -- '': everybody
    reaction text NOT NULL,                  -- core.breaker.Reaction
    events bigint NOT NULL,
    attempted bigint NOT NULL,
    at timestamptz NOT NULL DEFAULT mailer_now(),
    PRIMARY KEY (blast_id, provider, reaction)
);
