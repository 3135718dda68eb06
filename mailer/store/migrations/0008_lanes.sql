-- breaking
-- What the controller knows of a lane, why it did what, and limits that lanes share.
-- A worker of an earlier release would go on where a lane is halted.

ALTER TYPE lane_mode ADD VALUE 'halted';  -- until a person releases it

-- What the settings allow, as the last worker that started had them; and what
-- core.controller remembers besides, which nobody else reads.
ALTER TABLE lane
    ADD COLUMN start double precision,       -- rate of a new lane; NULL: unlimited
    ADD COLUMN ceiling double precision,     -- NULL: unlimited
    ADD COLUMN most integer NOT NULL DEFAULT 1,  -- connections
    ADD COLUMN is_warming boolean NOT NULL DEFAULT false,  -- a quota holds, by the day
    ADD COLUMN memory jsonb,                 -- NULL: nothing was learned yet
    ADD CONSTRAINT lane_rate_is_positive CHECK (rate > 0),
    ADD CONSTRAINT lane_has_a_connection CHECK (connections > 0);

-- Each step of the controller, with the reply that caused it.
CREATE TABLE transition (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    provider text NOT NULL,
    source text NOT NULL,
    at timestamptz NOT NULL,
    cause text NOT NULL,                     -- core.lane.Cause
    before lane_mode NOT NULL,
    after lane_mode NOT NULL,
    rate_before double precision,            -- messages a second; NULL: unlimited
    rate_after double precision,
    connections_before integer NOT NULL,
    connections_after integer NOT NULL,
    until timestamptz,                       -- it goes on by itself then
    reply text
);
CREATE INDEX transition_by_lane ON transition (provider, source, id);  -- the latest
CREATE INDEX transition_by_time ON transition (at);  -- forget the old

-- What a lane might send on a day (UTC) while it warms up, and what came of it.
CREATE TABLE lane_day (
    provider text NOT NULL,
    source text NOT NULL,
    day date NOT NULL,
    quota integer NOT NULL,
    used integer NOT NULL DEFAULT 0,         -- granted
    accepted integer NOT NULL DEFAULT 0,
    deferred integer NOT NULL DEFAULT 0,     -- replies about the lane
    PRIMARY KEY (provider, source, day),
    FOREIGN KEY (provider, source) REFERENCES lane ON DELETE CASCADE
);

-- A limit that several lanes share: those of a provider, of a source, of a sending
-- domain, or of some of these at once.
CREATE TABLE cap (
    name text PRIMARY KEY,
    provider text,                           -- NULL: any
    source text,
    domain text,                             -- of From
    rate double precision,                   -- messages a second
    arrival timestamptz NOT NULL DEFAULT '-infinity',  -- GCRA, as in lane
    daily integer,                           -- messages a day (UTC)
    day date NOT NULL DEFAULT '-infinity',
    used integer NOT NULL DEFAULT 0,         -- granted on that day
    CONSTRAINT cap_limits_something CHECK (num_nonnulls(rate, daily) > 0),
    CONSTRAINT cap_names_something CHECK (num_nonnulls(provider, source, domain) > 0),
    CONSTRAINT cap_rate_is_positive CHECK (rate > 0)
);
