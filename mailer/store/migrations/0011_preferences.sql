-- What people choose for themselves: how often, paused for how long, and the way back.

ALTER TYPE event_kind ADD VALUE 'preferences';  -- what a person chose
ALTER TYPE event_kind ADD VALUE 'return';       -- took an unsubscribe back
ALTER TYPE event_kind ADD VALUE 'signup';       -- asked for mail on the website
ALTER TYPE event_kind ADD VALUE 'confirmation'; -- followed the link in our mail
ALTER TYPE suppression_reason ADD VALUE 'pause';

CREATE TABLE preference (
    subscriber_id bigint PRIMARY KEY REFERENCES subscriber ON DELETE CASCADE,
    every interval,                          -- at most one message in so long; NULL: all
    tracking text,                           -- NULL: as the topic says
    updated_at timestamptz NOT NULL,
    CONSTRAINT preference_every_is_positive CHECK (every > interval '0'),
    CONSTRAINT preference_tracking_is_known CHECK (tracking IN ('full', 'aggregate', 'off'))
);

-- A mail that asks whether an address is the person's own: a sign-up, a new address.
CREATE TABLE confirmation (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    event_id uuid NOT NULL UNIQUE,           -- asked twice by one event: sent once
    subscriber_id bigint REFERENCES subscriber ON DELETE CASCADE,  -- whose address it shall be
    address text NOT NULL,                   -- normalised
    email text NOT NULL,
    asked jsonb NOT NULL,                    -- names, topics, language, and the proof
    asked_at timestamptz NOT NULL,
    due_at timestamptz NOT NULL DEFAULT now(),
    attempts smallint NOT NULL DEFAULT 0,
    sent_at timestamptz,
    confirmed_at timestamptz,
    error text
);
-- deliver: what is owed; add: how many an address has had
CREATE INDEX confirmation_due ON confirmation (due_at) WHERE sent_at IS NULL;
CREATE INDEX confirmation_by_address ON confirmation (address, asked_at);
