-- Chunks whose owner is gone: what it may have started waits, the rest goes out.
ALTER TABLE chunk ADD COLUMN lost_at timestamptz;  -- somebody found its lease run out
ALTER TABLE chunk SET (fillfactor = 70);           -- room to move started_through in place

-- doubt: what waits for its owner or its journal
CREATE INDEX chunk_lost ON chunk (lost_at) WHERE lost_at IS NOT NULL;
-- give back, recover: what a process holds
CREATE INDEX chunk_by_owner ON chunk (owner) WHERE state = 'leased';
