-- How much of a blast had failed when it was paused for that: a person who resumes it
-- excuses so much, and no more.
CREATE TABLE breaker (
    blast_id bigint PRIMARY KEY REFERENCES blast ON DELETE CASCADE,
    failed bigint NOT NULL,
    results bigint NOT NULL,
    at timestamptz NOT NULL DEFAULT mailer_now()
);
