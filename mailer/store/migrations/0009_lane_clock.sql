-- The clock that lanes live by.  A rehearsal in time-lapse has one that runs faster, in
-- the database of its own; leases keep to the real one.
CREATE FUNCTION lane_now() RETURNS timestamptz
LANGUAGE sql VOLATILE AS $$ SELECT clock_timestamp() $$;
