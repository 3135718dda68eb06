-- The house's tables: who, what, the ledger, what came back, and who did what.

-- The one clock of SQL.  Rehearsals in time-lapse and tests set an offset.
CREATE TABLE clock (
    one boolean PRIMARY KEY DEFAULT true CONSTRAINT clock_is_one_row CHECK (one),
    shift interval NOT NULL DEFAULT interval '0'
);
INSERT INTO clock DEFAULT VALUES;

CREATE FUNCTION mailer_now() RETURNS timestamptz
LANGUAGE sql STABLE AS $$ SELECT now() + shift FROM clock $$;

-- ── Who ─────────────────────────────────────────────────────────────────────

CREATE TABLE subscriber (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    address text NOT NULL UNIQUE,            -- normalised, for comparison: lower case, A-label
    email text NOT NULL,                     -- as it is written on an envelope
    domain text NOT NULL,
    provider text NOT NULL,                  -- hint by domain; the live MX decides the lane
    first_name text,
    last_name text,
    street text,
    city text,
    state text,
    zip text,
    country text,
    time_zone text,                          -- IANA name
    language text,                           -- BCP 47
    attributes jsonb NOT NULL DEFAULT '{}',
    signed_up_at timestamptz NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT subscriber_address_is_lower CHECK (address = lower(address)),
    CONSTRAINT subscriber_attributes_is_object CHECK (jsonb_typeof(attributes) = 'object')
);
CREATE INDEX subscriber_by_domain ON subscriber (domain);  -- suppressions of a domain

-- What a person has given: history from an import, plus what the hooks told.
CREATE TABLE giving (
    subscriber_id bigint PRIMARY KEY REFERENCES subscriber ON DELETE CASCADE,
    imported_count integer NOT NULL DEFAULT 0,
    imported_sum numeric(14, 2) NOT NULL DEFAULT 0,
    imported_highest numeric(12, 2),
    imported_latest numeric(12, 2),
    imported_latest_at timestamptz,
    live_count integer NOT NULL DEFAULT 0,
    live_sum numeric(14, 2) NOT NULL DEFAULT 0,
    live_highest numeric(12, 2),
    live_latest numeric(12, 2),
    live_latest_at timestamptz,
    recurring boolean NOT NULL DEFAULT false,
    count integer GENERATED ALWAYS AS (imported_count + live_count) STORED,
    sum numeric(14, 2) GENERATED ALWAYS AS (imported_sum + live_sum) STORED,
    highest numeric(12, 2) GENERATED ALWAYS AS (GREATEST(imported_highest, live_highest)) STORED,
    latest numeric(12, 2) GENERATED ALWAYS AS (
        CASE WHEN live_latest_at IS NULL
               OR imported_latest_at > live_latest_at THEN imported_latest
             ELSE live_latest END
    ) STORED,
    latest_at timestamptz GENERATED ALWAYS AS (GREATEST(imported_latest_at, live_latest_at)) STORED
);

CREATE TYPE suppression_reason AS ENUM (
    'unsubscribe', 'complaint', 'bounce', 'manual', 'import'
);

-- An address, or "@domain", that must not be mailed: everywhere, or on one topic.
CREATE TABLE suppression (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    address text NOT NULL,
    topic text,                              -- NULL: every topic
    reason suppression_reason NOT NULL,
    source text NOT NULL,                    -- a file, a blast, an address of ours
    note text,
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz,
    CONSTRAINT suppression_is_once UNIQUE NULLS NOT DISTINCT (address, topic),
    CONSTRAINT suppression_address_is_lower CHECK (address = lower(address))
);

-- People about whom something changed that may forbid a message: workers read it
-- every second and ask again before MAIL.
CREATE TABLE change (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    address text,                            -- or "@domain"
    subscriber_id bigint,
    CONSTRAINT change_names_someone CHECK (num_nonnulls(address, subscriber_id) = 1)
);
CREATE INDEX change_by_time ON change (at);  -- what is new since the last look

-- ── What is sent ────────────────────────────────────────────────────────────

-- Approved content: the compiled templates, links, segment and rules, by their hash.
CREATE TABLE content (
    hash text PRIMARY KEY,                   -- SHA-256 of the canonical JSON
    body jsonb NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);

-- The moves are core.blast's; docs/states.md draws them.
CREATE TYPE blast_state AS ENUM (
    'draft',       -- written; any edit leads back here
    'proofed',     -- a person has seen it in an inbox
    'approved',    -- a person has said that it may go
    'scheduled',   -- waits for send_at
    'launching',   -- the ledger is being written
    'testing',     -- the slice goes out
    'deciding',    -- the slice is out, the winner is not known
    'sending',     -- everything that is released goes out
    'paused',      -- nothing starts; goes on where it was
    'done',        -- every delivery has its end
    'cancelled',   -- a person stopped it for good
    'expired'      -- expires_at came first
);

CREATE TABLE blast (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL UNIQUE,
    state blast_state NOT NULL DEFAULT 'draft',
    resumes blast_state,                     -- where a paused blast goes on
    topic text NOT NULL,
    file text NOT NULL,                      -- relative to the workspace
    hash text NOT NULL,                      -- of the files as they were last read
    proofed_hash text,
    preflight_hash text,
    approved_hash text REFERENCES content,
    send_at timestamptz,
    expires_at timestamptz,
    priority integer NOT NULL DEFAULT 0,
    seed bigint,                             -- of the split, drawn at launch, kept for good
    reason text,                             -- why it is paused, cancelled or expired
    created_at timestamptz NOT NULL DEFAULT now(),
    launched_at timestamptz,
    ended_at timestamptz,
    CONSTRAINT blast_paused_knows_where CHECK ((state = 'paused') = (resumes IS NOT NULL)),
    CONSTRAINT blast_goes_out_approved CHECK (
        state NOT IN ('approved', 'scheduled', 'launching', 'testing', 'deciding', 'sending', 'done')
        OR approved_hash IS NOT NULL
    )
);

CREATE TABLE variant (
    blast_id bigint NOT NULL REFERENCES blast ON DELETE CASCADE,
    position smallint NOT NULL,              -- from 1, in the order of the file
    name text NOT NULL,
    subject text NOT NULL,
    PRIMARY KEY (blast_id, position),
    UNIQUE (blast_id, name)
);

-- Where the links of a blast lead.  An index is never used again.
CREATE TABLE link (
    blast_id bigint NOT NULL REFERENCES blast ON DELETE CASCADE,
    index integer NOT NULL,
    variant smallint NOT NULL,
    url text NOT NULL,                       -- {name} marks what is filled in for one person
    PRIMARY KEY (blast_id, index)
);

-- A part of a blast that is released as one: the slice, the remainder.
CREATE TABLE round (
    blast_id bigint NOT NULL REFERENCES blast ON DELETE CASCADE,
    number smallint NOT NULL,
    released_at timestamptz,
    variant smallint,                        -- the decided one, for rows that have none
    PRIMARY KEY (blast_id, number)
);

-- ── The ledger ──────────────────────────────────────────────────────────────

CREATE TYPE delivery_state AS ENUM (
    'owed',        -- to be tried → any other
    'deferred',    -- tried, to be tried again → any other
    'sent',        -- the provider said 250
    'bounced',     -- the provider refused for good
    'in_doubt',    -- the reply to the final dot was never seen → by evidence or a person
    'suppressed',  -- must not be mailed
    'held_out',    -- of the holdout: gets nothing
    'expired',     -- expires_at came first
    'cancelled',   -- the blast was cancelled
    'failed'       -- could not be made into a message
);

CREATE TABLE delivery (
    blast_id bigint NOT NULL REFERENCES blast,
    seq integer NOT NULL,                    -- position in the blast, from 1, in sending order
    subscriber_id bigint NOT NULL,
    occasion text NOT NULL DEFAULT '',
    provider text NOT NULL,
    round smallint NOT NULL,
    variant smallint,                        -- NULL: the round's
    state delivery_state NOT NULL,
    attempts smallint NOT NULL DEFAULT 0,
    dated_at timestamptz,                    -- of the first attempt, once deferred: its Date
    settled_at timestamptz,
    code smallint,                           -- of the last reply
    reply text,                              -- the last reply, or the reason
    PRIMARY KEY (blast_id, seq),
    CONSTRAINT delivery_never_twice UNIQUE (blast_id, subscriber_id, occasion)
) WITH (fillfactor = 75);                    -- room to settle in place: state is in no index

CREATE TYPE chunk_state AS ENUM ('ready', 'leased', 'done');

-- Some hundred deliveries of one blast, provider, pool, round and start time.
CREATE TABLE chunk (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    blast_id bigint NOT NULL,
    round smallint NOT NULL,
    provider text NOT NULL,
    pool text NOT NULL,
    start_at timestamptz NOT NULL,
    attempt smallint NOT NULL DEFAULT 0,     -- its rows have been tried so often
    first_seq integer NOT NULL,
    last_seq integer NOT NULL,
    seqs integer[],                          -- of a retry chunk; NULL: the whole range
    state chunk_state NOT NULL DEFAULT 'ready',
    owner text,                              -- process
    epoch integer NOT NULL DEFAULT 0,        -- one more at each lease
    lease_until timestamptz,
    started_through integer,                 -- seqs up to here may have been started
    FOREIGN KEY (blast_id, round) REFERENCES round ON DELETE CASCADE,
    CONSTRAINT chunk_leased_has_owner CHECK (
        (state = 'leased') = (owner IS NOT NULL AND lease_until IS NOT NULL)
    )
);
-- lease: the first ready chunk of a released round for a lane
CREATE INDEX chunk_ready ON chunk (blast_id, round, provider, pool, start_at, id)
    WHERE state = 'ready';
-- reclaim: leases that ran out; finish: is anything left of a blast
CREATE INDEX chunk_leased ON chunk (lease_until) WHERE state = 'leased';
CREATE INDEX chunk_open ON chunk (blast_id) WHERE state <> 'done';

CREATE TYPE lane_mode AS ENUM ('normal', 'backing_off', 'suspended', 'probing');

-- Provider x source: the unit of rate, connections and backoff.
CREATE TABLE lane (
    provider text NOT NULL,
    source text NOT NULL,
    pool text NOT NULL,
    mode lane_mode NOT NULL DEFAULT 'normal',
    rate double precision,                   -- messages a second; NULL: unlimited
    burst double precision NOT NULL DEFAULT 1,
    connections integer NOT NULL,
    arrival timestamptz NOT NULL DEFAULT '-infinity',  -- GCRA's theoretical arrival time
    not_before timestamptz NOT NULL DEFAULT '-infinity',
    reason text,                             -- the reply that led to mode
    PRIMARY KEY (provider, source)
);

-- A connection that a process may have open on a lane, as a lease.
CREATE TABLE slot (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    provider text NOT NULL,
    source text NOT NULL,
    owner text NOT NULL,
    lease_until timestamptz NOT NULL,
    FOREIGN KEY (provider, source) REFERENCES lane ON DELETE CASCADE
);
CREATE INDEX slot_by_lane ON slot (provider, source, lease_until);  -- how many are taken
CREATE INDEX slot_by_owner ON slot (owner);  -- renew and give back

-- Running workers, schedulers and endpoints, with what they were started with.
CREATE TABLE process (
    id text PRIMARY KEY,
    kind text NOT NULL,
    host text NOT NULL,
    boot text NOT NULL,
    pid integer NOT NULL,
    fingerprint text NOT NULL,               -- of settings and keys
    started_at timestamptz NOT NULL DEFAULT now(),
    seen_at timestamptz NOT NULL DEFAULT now(),
    stopped_at timestamptz
);

-- ── What came back ──────────────────────────────────────────────────────────

CREATE TYPE event_kind AS ENUM (
    'open', 'click', 'unsubscribe', 'bounce', 'complaint', 'donation'
);
CREATE TYPE event_label AS ENUM ('human', 'machine', 'unknown');

CREATE TABLE event (
    id uuid PRIMARY KEY,                     -- made at receipt: loading twice changes nothing
    at timestamptz NOT NULL,
    kind event_kind NOT NULL,
    blast_id bigint,
    subscriber_id bigint,
    variant smallint,
    provider text,
    link integer,
    label event_label NOT NULL DEFAULT 'human',
    reasons text[] NOT NULL DEFAULT '{}',
    rules smallint NOT NULL DEFAULT 0,       -- version of the labelling rules
    agent text,
    ip inet,                                 -- truncated
    body jsonb                               -- what the sender of a hook said
);
CREATE INDEX event_by_blast ON event (blast_id, at);        -- recount, relabel
CREATE INDEX event_by_subscriber ON event (subscriber_id, at);  -- export of a person

-- Who reacted to what, each person once: unique counts, and segments.
CREATE TABLE engagement (
    subscriber_id bigint NOT NULL,
    blast_id bigint NOT NULL,
    opened_at timestamptz,                   -- first by a human
    last_opened_at timestamptz,
    machine_opened_at timestamptz,           -- first by a machine or unknown
    last_machine_opened_at timestamptz,
    clicked_at timestamptz,
    last_clicked_at timestamptz,
    machine_clicked_at timestamptz,
    last_machine_clicked_at timestamptz,
    unsubscribed_at timestamptz,
    complained_at timestamptz,
    donated_at timestamptz,
    PRIMARY KEY (subscriber_id, blast_id)
);
CREATE INDEX engagement_by_blast ON engagement (blast_id);  -- recount

CREATE TABLE donation (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    sender text NOT NULL,                    -- actblue, …
    external_id text NOT NULL,               -- the sender's name for it
    at timestamptz NOT NULL,
    amount numeric(12, 2) NOT NULL,
    refunded numeric(12, 2) NOT NULL DEFAULT 0,
    currency text NOT NULL DEFAULT 'USD',
    recurring boolean NOT NULL DEFAULT false,
    renewal boolean NOT NULL DEFAULT false,
    email text,
    subscriber_id bigint REFERENCES subscriber ON DELETE SET NULL,
    blast_id bigint REFERENCES blast,
    variant smallint,
    link integer,
    method text NOT NULL,                    -- refcode, token, click, none
    received_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (sender, external_id),
    CONSTRAINT donation_is_positive CHECK (amount > 0),
    CONSTRAINT donation_refund_fits CHECK (refunded BETWEEN 0 AND amount)
);
CREATE INDEX donation_by_subscriber ON donation (subscriber_id, at);  -- segments, giving
CREATE INDEX donation_by_blast ON donation (blast_id);                -- reports

-- Counters, kept in the transaction of what they count.  Reports read only these.
CREATE TABLE rollup (
    blast_id bigint NOT NULL REFERENCES blast ON DELETE CASCADE,
    variant smallint NOT NULL,               -- 0: none yet
    provider text NOT NULL,
    hour timestamptz NOT NULL,
    recipients bigint NOT NULL DEFAULT 0,
    sent bigint NOT NULL DEFAULT 0,
    deferrals bigint NOT NULL DEFAULT 0,     -- attempts that were put off
    bounced bigint NOT NULL DEFAULT 0,
    in_doubt bigint NOT NULL DEFAULT 0,
    suppressed bigint NOT NULL DEFAULT 0,
    held_out bigint NOT NULL DEFAULT 0,
    expired bigint NOT NULL DEFAULT 0,
    cancelled bigint NOT NULL DEFAULT 0,
    failed bigint NOT NULL DEFAULT 0,
    opens bigint NOT NULL DEFAULT 0,         -- people, by a human
    machine_opens bigint NOT NULL DEFAULT 0, -- people with one by a machine or unknown
    clicks bigint NOT NULL DEFAULT 0,
    machine_clicks bigint NOT NULL DEFAULT 0,
    unsubscribes bigint NOT NULL DEFAULT 0,
    complaints bigint NOT NULL DEFAULT 0,
    donors bigint NOT NULL DEFAULT 0,
    gifts bigint NOT NULL DEFAULT 0,
    money numeric(16, 2) NOT NULL DEFAULT 0,
    PRIMARY KEY (blast_id, variant, provider, hour)
);

-- ── Who did what ────────────────────────────────────────────────────────────

CREATE TABLE audit (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    actor text NOT NULL,
    object text NOT NULL,                    -- "blast 12", "suppression ada@example.org"
    action text NOT NULL,
    before text,
    after text,
    why text
);
CREATE INDEX audit_by_object ON audit (object, id);

-- Whatever may forbid a message is told to the workers by the schema itself.
CREATE FUNCTION tell_suppression() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO change (address) SELECT address FROM fresh;
    RETURN NULL;
END $$;
CREATE TRIGGER suppression_is_told AFTER INSERT ON suppression
    REFERENCING NEW TABLE AS fresh FOR EACH STATEMENT EXECUTE FUNCTION tell_suppression();

CREATE FUNCTION tell_donation() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO change (subscriber_id)
    SELECT subscriber_id FROM fresh WHERE subscriber_id IS NOT NULL;
    RETURN NULL;
END $$;
CREATE TRIGGER donation_is_told AFTER INSERT ON donation
    REFERENCING NEW TABLE AS fresh FOR EACH STATEMENT EXECUTE FUNCTION tell_donation();
