-- What the DNS said of the domains of the list: who receives their mail.
CREATE TABLE domain (
    name text PRIMARY KEY,
    provider text NOT NULL,                  -- by its MX hosts; the last that was so
    why text NOT NULL,                       -- core.exchange.Why
    hosts text[] NOT NULL,                   -- MX hosts, the best preference first
    preferences integer[] NOT NULL,
    asked_at timestamptz NOT NULL DEFAULT mailer_now(),
    good_until timestamptz NOT NULL,         -- then it is asked again
    before text,                             -- the provider until changed_at
    changed_at timestamptz,
    CONSTRAINT domain_name_is_lower CHECK (name = lower(name)),
    CONSTRAINT domain_why_is_known
        CHECK (why IN ('mx', 'nobody', 'mixed', 'implicit', 'null', 'none')),
    CONSTRAINT domain_hosts_have_preferences
        CHECK (cardinality(hosts) = cardinality(preferences))
);

-- Who receives the mail of a domain, where that is known and there is a lane for it: an
-- answer of the last week is better than the hint.
CREATE VIEW received AS
SELECT d.name AS domain, d.provider
FROM domain d
WHERE d.why NOT IN ('null', 'none') AND d.asked_at > mailer_now() - interval '7 days'
  AND EXISTS (SELECT FROM lane l WHERE l.provider = d.provider);
