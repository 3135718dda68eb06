-- Alarms: what needs a person, and the notices by which people are told.

-- Of one kind and subject one alarm is open; what comes again is counted.
CREATE TABLE alarm (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind text NOT NULL,                      -- core.alarm.Kind
    subject text NOT NULL,                   -- "blast eoq", "lane google/relay"
    detail text NOT NULL,                    -- as it was last seen
    count integer NOT NULL DEFAULT 1,
    first_at timestamptz NOT NULL DEFAULT mailer_now(),
    last_at timestamptz NOT NULL DEFAULT mailer_now(),
    taken_by text,
    taken_at timestamptz,
    note text,
    cleared_at timestamptz,                  -- its cause is gone
    cleared_why text,
    reopened integer NOT NULL DEFAULT 0,     -- times that it came back soon after
    told text,                               -- core.alarm.Event: what people know
    told_at timestamptz,
    rounds integer NOT NULL DEFAULT 0,       -- times that they were told
    CONSTRAINT alarm_taken_by_someone CHECK ((taken_by IS NULL) = (taken_at IS NULL)),
    CONSTRAINT alarm_told_what CHECK ((told IS NULL) = (told_at IS NULL))
);
CREATE UNIQUE INDEX alarm_is_open_once ON alarm (kind, subject) WHERE cleared_at IS NULL;
CREATE INDEX alarm_by_subject ON alarm (kind, subject, id);  -- raise: is it back

-- One message to one person or webhook about an alarm.  Its number stays the same
-- however often it is tried: whoever gets it twice can tell.
CREATE TABLE notice (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    alarm_id bigint NOT NULL REFERENCES alarm ON DELETE CASCADE,
    round integer NOT NULL,
    channel text NOT NULL,                   -- webhook, email
    address text NOT NULL,
    body jsonb NOT NULL,                     -- what is said, as it was then
    due_at timestamptz NOT NULL DEFAULT mailer_now(),
    lease_until timestamptz,                 -- somebody delivers it
    attempts integer NOT NULL DEFAULT 0,
    error text,                              -- of the last attempt
    sent_at timestamptz,
    dropped_at timestamptz,                  -- a newer one says more
    CONSTRAINT notice_is_once UNIQUE (alarm_id, round, channel, address)
);
-- claim: what is to be delivered
CREATE INDEX notice_owed ON notice (due_at) WHERE sent_at IS NULL AND dropped_at IS NULL;
