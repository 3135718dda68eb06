-- A message in doubt that was sent again by the blast's own rule: that happens once.
ALTER TABLE delivery ADD COLUMN resent_at timestamptz;
